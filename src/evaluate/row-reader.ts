import { MillraceError } from "../base/errors.ts";

export type Row = Readonly<Record<string, unknown>>;

/** The objects of a JSON-lines text. Throws `invalid_data_file` with the line's number. */
export function parseJsonLines(text: string, where: string): Row[] {
  const rows: Row[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch (error) {
      throw badRow(`${where}:${index + 1}`, "is not JSON", "one JSON object a line", error);
    }
    if (!isRow(row)) throw badRow(`${where}:${index + 1}`, "is not an object", "one JSON object a line");
    rows.push(row);
  }
  return rows;
}

export function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/** A whole number, or its decimal text, between 0 and `count` − 1. Throws `invalid_data_file`. */
export function readIndex(value: unknown, count: number, where: string): number {
  const index = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof index === "number" && Number.isInteger(index) && index >= 0 && index < count) return index;
  throw badRow(where, `names answer ${JSON.stringify(value)}`, `an index from 0 to ${count - 1}`);
}

/** A row that cannot be used; `expected` says what the form is. */
export function badRow(where: string, seen: string, expected: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "invalid_data_file",
    `${where} ${seen}; expected: ${expected}. Correct the file or fetch it again.`,
    { cause },
  );
}

/** The texts of named fields. Throws `invalid_data_file` that names the missing one. */
export function readTexts<Key extends string>(
  row: Row,
  keys: readonly Key[],
  where: string,
): Readonly<Record<Key, string>> {
  for (const key of keys) {
    if (typeof row[key] === "string") continue;
    throw badRow(where, `has no text "${key}"`, `an object with ${keys.join(", ")}`);
  }
  return row as Readonly<Record<Key, string>>;
}

/** The rows of JSON lines or of a JSON array. Throws `invalid_data_file`. */
export function parseJsonRows(text: string, where: string): Row[] {
  return text.trimStart().startsWith("[") ? parseJsonArray(text, where) : parseJsonLines(text, where);
}

/** The rows of a JSON array. Throws `invalid_data_file`. */
export function parseJsonArray(text: string, where: string): Row[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badRow(where, "is not JSON", "a JSON array of objects", error);
  }
  if (!Array.isArray(value) || !value.every(isRow))
    throw badRow(where, "is not an array of objects", "a JSON array of objects");
  return value;
}
