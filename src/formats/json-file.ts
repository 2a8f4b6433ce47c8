import { MillraceError, messageOf } from "../base/errors.ts";
import { readTextFile } from "./file-access.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

/** 256 MiB; tokenizer.json of the largest vocabularies has some 35 MB. */
const maxJsonBytes = 1 << 28;

/** Reads a JSON object from a file. Throws `file_not_found` or `invalid_model_file`. */
export function readJsonObject(path: string): JsonObject {
  return parseJsonObject(readTextFile(path, maxJsonBytes), path);
}

/** Reads a JSON list from a file. Throws `file_not_found` or `invalid_model_file`. */
export function readJsonList(path: string): readonly unknown[] {
  const value = parseJson(readTextFile(path, maxJsonBytes), path);
  if (Array.isArray(value)) return value;
  throw wrongKind(value, "list", path);
}

/** Parses text that must be a JSON object; `origin` names it in the error `invalid_model_file`. */
export function parseJsonObject(text: string, origin: string): JsonObject {
  const value = parseJson(text, origin);
  if (isJsonObject(value)) return value;
  throw wrongKind(value, "object", origin);
}

function parseJson(text: string, origin: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MillraceError(
      "invalid_model_file",
      `${origin} is not JSON: ${messageOf(error)}. Fetch the file again.`,
      { cause: error },
    );
  }
}

function wrongKind(value: unknown, wanted: string, origin: string): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `${origin} holds ${Array.isArray(value) ? "a list" : typeof value}; it must hold a JSON ${wanted}. Fetch the file again.`,
  );
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
