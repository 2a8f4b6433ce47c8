/**
 * Python's string functions where JavaScript's differ, so that prompts and counts equal those of lm-eval.
 * Python's white space has U+001C–1F and U+0085, and not U+FEFF.
 */
export const pythonSpaces =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const space = `[${pythonSpaces}]`;

const leading = new RegExp(`^${space}+`);
const trailing = new RegExp(`${space}+$`);
const run = new RegExp(`${space}+`);

/** `str.strip()` */
export function strip(text: string): string {
  return stripEnd(text.replace(leading, ""));
}

/** `str.lstrip()` */
export function stripStart(text: string): string {
  return text.replace(leading, "");
}

/** `str.rstrip()` */
export function stripEnd(text: string): string {
  return text.replace(trailing, "");
}

export function startsWithSpace(text: string): boolean {
  return leading.test(text);
}

export function endsWithSpace(text: string): boolean {
  return trailing.test(text);
}

/** `re.split(r"\s+", text)`: white space at an end gives an empty piece. */
export function splitOnSpace(text: string): string[] {
  return text.split(run);
}

/** `str.capitalize()`: the first character in title case, the rest in lower case. */
export function capitalize(text: string): string {
  const [first = ""] = text;
  const upper = first.toUpperCase();
  const title = upper.length > first.length ? upper[0]! + upper.slice(1).toLowerCase() : upper;
  return title + text.slice(first.length).toLowerCase();
}

/** `len(str)`: Unicode code points. */
export function numCodePoints(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** `str.isupper()`: some letter has a case, and none is small or in title case. */
export function isUpper(text: string): boolean {
  return /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);
}

/** `str.islower()` */
export function isLower(text: string): boolean {
  return /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text);
}

/** `str(float)`: the shortest digits that give the number back, with a fraction or an exponent. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const [digits = "", exponent = ""] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 16) return Number.isInteger(value) ? `${value}.0` : String(value);
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** The number that Python writes so. */
export function parseFloatText(text: string): number {
  if (text === "inf") return Infinity;
  return text === "-inf" ? -Infinity : Number(text);
}
