import { MillraceError, messageOf } from "../base/errors.ts";
import { pythonSpaces } from "./python-text.ts";

const word = "\\p{L}\\p{N}_";
const edge = `(?:(?<=[${word}])(?![${word}])|(?<![${word}])(?=[${word}]))`;
const noEdge = `(?:(?<=[${word}])(?=[${word}])|(?<![${word}])(?![${word}]))`;

/** What an escape means in Python: inside a class, and outside. Others mean the same in both languages. */
const classEscapes: Readonly<Record<string, string>> = {
  d: "\\p{Nd}",
  D: "\\P{Nd}",
  w: word,
  s: pythonSpaces,
};
const escapes: Readonly<Record<string, string>> = {
  d: "\\p{Nd}",
  D: "\\P{Nd}",
  w: `[${word}]`,
  W: `[^${word}]`,
  s: `[${pythonSpaces}]`,
  S: `[^${pythonSpaces}]`,
  b: edge,
  B: noEdge,
  A: "(?<![\\s\\S])",
  Z: "(?![\\s\\S])",
};

/** Signs that may stand escaped in JavaScript's Unicode mode; a hyphen only in a class. */
const syntax = /[\^$\\.*+?()[\]{}|/]/;

/**
 * A pattern of Python's `re` on text, as a JavaScript expression: `.` is everything but line feed, `$` also matches
 * before a last line feed, `\w \d \s \b` are Unicode. Leading `(?i)`, `(?s)`, `(?m)` are read, `(?P<name>` too.
 * Throws `invalid_data_file` for what has no counterpart.
 */
export function pythonRegExp(pattern: string, flags = ""): RegExp {
  const [, letters = "", body = ""] = /^(?:\(\?([ims]+)\))?([^]*)$/.exec(pattern) ?? [];
  const all = new Set((flags + letters).split(""));
  const isDotAll = all.delete("s");
  const source = translate(body, isDotAll, all.has("m"));
  try {
    return new RegExp(source, [...all, "u"].join(""));
  } catch (error) {
    throw new MillraceError(
      "invalid_data_file",
      `The regular expression ${JSON.stringify(pattern)} cannot be used: ${messageOf(error)}. Write it with groups, classes, repeats and look-arounds only.`,
      { cause: error },
    );
  }
}

function translate(pattern: string, isDotAll: boolean, isMultiline: boolean): string {
  let out = "";
  /** Where the first sign of the open class stands in `out`; −1 outside of classes. */
  let classStart = -1;
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at]!;
    if (char === "\\") {
      at += 1;
      out += translateEscape(pattern[at] ?? "", classStart !== -1);
    } else if (classStart !== -1) {
      const before = out.slice(classStart);
      // In Python a bracket that closes first stands for itself; one that opens always does.
      const isLiteral = char === "[" || (char === "]" && (before === "" || before === "^"));
      if (char === "]" && !isLiteral) classStart = -1;
      out += isLiteral ? `\\${char}` : char;
    } else {
      out += translatePlain(pattern, at, { isDotAll, isMultiline });
      if (char === "[") classStart = out.length;
    }
  }
  return out.replaceAll("(?P<", "(?<");
}

function translatePlain(
  pattern: string,
  at: number,
  { isDotAll, isMultiline }: { readonly isDotAll: boolean; readonly isMultiline: boolean },
): string {
  const char = pattern[at]!;
  if (char === ".") return isDotAll ? "[^]" : "[^\\n]";
  if (char === "$") return isMultiline ? "(?=\\n|(?![\\s\\S]))" : "(?=\\n?(?![\\s\\S]))";
  if (char === "^" && isMultiline) return "(?<=\\n|(?<![\\s\\S]))";
  if (char === "]" || char === "}") return isQuantifierEnd(pattern, at) ? char : `\\${char}`;
  if (char === "{") return /^\{\d*,?\d*\}/.test(pattern.slice(at)) ? char : "\\{";
  return char;
}

function isQuantifierEnd(pattern: string, at: number): boolean {
  return pattern[at] === "}" && /\{\d*,?\d*$/.test(pattern.slice(0, at));
}

function translateEscape(char: string, isInClass: boolean): string {
  const meaning = (isInClass ? classEscapes : escapes)[char];
  if (meaning !== undefined) return meaning;
  // Python allows a backslash before any sign; JavaScript's Unicode mode only before syntax.
  const isSyntax = syntax.test(char) || (isInClass && char === "-");
  return /[A-Za-z0-9]/.test(char) || isSyntax ? `\\${char}` : char;
}
