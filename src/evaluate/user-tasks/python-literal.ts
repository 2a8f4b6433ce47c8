import { floatText } from "../python-text.ts";

/** `repr` of a value of a data file, as templates print lists and single texts inside them. */
export function pythonRepr(value: unknown): string {
  if (typeof value === "string") return reprText(value);
  if (Array.isArray(value)) return `[${value.map(pythonRepr).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const pairs = Object.entries(value).map(([key, each]) => `${reprText(key)}: ${pythonRepr(each)}`);
    return `{${pairs.join(", ")}}`;
  }
  return pythonStr(value);
}

/** `str` of a value of a data file. Whole numbers are ints. */
export function pythonStr(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "True" : "False";
  if (value === null || value === undefined) return "None";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : floatText(value);
  return pythonRepr(value);
}

const escapes: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

function reprText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inner = text.replace(/[\\\n\r\t\p{Cc}']/gu, (char) => {
    if (char === "'") return quote === "'" ? "\\'" : "'";
    return escapes[char] ?? `\\x${char.codePointAt(0)!.toString(16).padStart(2, "0")}`;
  });
  return quote + inner + quote;
}

const string = /^(?:'((?:[^'\\\n]|\\[^])*)'|"((?:[^"\\\n]|\\[^])*)")/;
const number = /^[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)/i;
const word = /^(?:True|False|None)/;
const words: Readonly<Record<string, unknown>> = { True: true, False: false, None: null };
const unescapes: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", "\n": "" };

/** A list of texts, numbers and lists as Python writes it; undefined for anything else. */
export function parsePythonList(text: string): unknown[] | undefined {
  const trimmed = text.trim();
  const parsed = parseValue(trimmed);
  return parsed !== undefined && parsed.rest.trim() === "" && Array.isArray(parsed.value)
    ? parsed.value
    : undefined;
}

interface Parsed {
  readonly value: unknown;
  readonly rest: string;
}

function parseValue(text: string): Parsed | undefined {
  if (text.startsWith("[")) return parseList(text.slice(1).trimStart(), []);
  const quoted = string.exec(text);
  if (quoted !== null) {
    const inner = quoted[1] ?? quoted[2] ?? "";
    const value = inner.replace(/\\(x[\da-f]{2}|u[\da-f]{4}|[^])/gi, (_all, escape: string) =>
      escape.length > 1
        ? String.fromCodePoint(Number.parseInt(escape.slice(1), 16))
        : (unescapes[escape] ?? escape),
    );
    return { value, rest: text.slice(quoted[0].length) };
  }
  const named = word.exec(text)?.[0];
  if (named !== undefined) return { value: words[named], rest: text.slice(named.length) };
  const digits = number.exec(text)?.[0];
  return digits === undefined ? undefined : { value: Number(digits), rest: text.slice(digits.length) };
}

function parseList(text: string, items: readonly unknown[]): Parsed | undefined {
  if (text.startsWith("]")) return { value: items, rest: text.slice(1) };
  const item = parseValue(text);
  if (item === undefined) return undefined;
  const rest = item.rest.trimStart();
  if (rest.startsWith(",")) return parseList(rest.slice(1).trimStart(), [...items, item.value]);
  return rest.startsWith("]") ? { value: [...items, item.value], rest: rest.slice(1) } : undefined;
}
