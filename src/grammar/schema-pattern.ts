import { quoteText } from "./quote-text.ts";

/** A part of a pattern, and its EBNF. */
interface Part {
  readonly length: number;
  readonly grammar: string;
}

/**
 * Why a `pattern` cannot be kept to within a JSON text; null where it can. What could match a quotation mark, a
 * backslash or a control character is refused: in a JSON text it stands escaped.
 */
export function findPatternFault(pattern: string): string | null {
  try {
    new RegExp(pattern, "u");
  } catch {
    return "is no regular expression of ECMAScript";
  }
  const body = withoutAnchors(pattern);
  for (let at = 0; at < body.length; ) {
    const part = readPart(body, at);
    if (typeof part === "string") return part;
    at += part.length;
  }
  return null;
}

/** EBNF of the texts that are wholly matched by a pattern without faults. */
export function patternGrammar(pattern: string): string {
  const body = withoutAnchors(pattern);
  let grammar = "";
  for (let at = 0; at < body.length; ) {
    const part = readPart(body, at) as Part;
    // A quantifier belongs to what stands before it.
    grammar += /^[*+?{]/.test(part.grammar) ? part.grammar : ` ${part.grammar}`;
    at += part.length;
  }
  return grammar.trim() === "" ? '""' : `(${grammar.trim()})`;
}

function withoutAnchors(pattern: string): string {
  return pattern.replace(/^\^/, "").replace(/(?<!\\)((?:\\\\)*)\$$/, "$1");
}

/** What begins at `at`; a text that says why it cannot be kept to. */
function readPart(pattern: string, at: number): Part | string {
  const character = String.fromCodePoint(pattern.codePointAt(at)!);
  const rest = pattern.slice(at);
  if (character === "\\") return readEscape(rest);
  if (character === "[") return readClass(rest);
  if (character === ".") return "has a dot, which would allow what JSON escapes";
  if (character === "^" || character === "$") return `has ${character} in another place than at the ends`;
  if (character === "(") {
    if (rest.startsWith("(?:")) return { length: 3, grammar: "(" };
    return rest.startsWith("(?")
      ? "has a group that looks around or has a name"
      : { length: 1, grammar: "(" };
  }
  const quantifier = /^(?:[*+?]|\{\d+(?:,\d*)?\})/.exec(rest)?.[0];
  if (quantifier !== undefined) {
    const isLazy = rest[quantifier.length] === "?";
    return { length: quantifier.length + (isLazy ? 1 : 0), grammar: quantifier };
  }
  if (character === ")" || character === "|") return { length: 1, grammar: character };
  return readLiteral(character, character.length);
}

function readLiteral(character: string, length: number): Part | string {
  if (isEscapedInJson(character)) return `has ${JSON.stringify(character)}, which JSON escapes`;
  return { length, grammar: quoteText(character) };
}

const classesByLetter: Readonly<Record<string, string>> = { d: "0-9", w: "A-Za-z0-9_" };

function readEscape(rest: string): Part | string {
  const letter = rest[1]!;
  const known = classesByLetter[letter];
  if (known !== undefined) return { length: 2, grammar: `[${known}]` };
  return /[\w\\]/.test(letter) ? `has \\${letter}, which is not supported` : readLiteral(letter, 2);
}

function readClass(rest: string): Part | string {
  if (rest[1] === "^") return "has a class of what must not come, which would allow what JSON escapes";
  let grammar = "";
  let at = 1;
  let previous = "";
  while (rest[at] !== "]") {
    let item = String.fromCodePoint(rest.codePointAt(at)!);
    let length = item.length;
    const known = item === "\\" ? classesByLetter[rest[at + 1]!] : undefined;
    if (item === "\\") {
      item = rest[at + 1]!;
      length = 2;
      if (known === undefined && /[\w\\]/.test(item)) return `has \\${item}, which is not supported`;
    }
    const isRange = item === "-" && length === 1 && previous !== "" && rest[at + 1] !== "]";
    if (known === undefined && !isRange && isEscapedInJson(item))
      return `has ${JSON.stringify(item)}, which JSON escapes`;
    if (isRange && ['"', "\\"].some((mark) => previous < mark && mark < rest[at + 1]!)) {
      return `has the range ${previous}-${rest[at + 1]}, which holds what JSON escapes`;
    }
    grammar += known ?? (isRange ? "-" : classCharacter(item));
    previous = known === undefined && !isRange ? item : "";
    at += length;
  }
  return grammar === "" ? "has an empty class" : { length: at + 1, grammar: `[${grammar}]` };
}

function classCharacter(character: string): string {
  return /[A-Za-z0-9_]/.test(character)
    ? character
    : `\\U${character.codePointAt(0)!.toString(16).padStart(8, "0")}`;
}

function isEscapedInJson(character: string): boolean {
  return character < " " || character === '"' || character === "\\";
}
