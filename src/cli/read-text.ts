import { readFileSync } from "node:fs";
import { MillraceError, systemReasonOf } from "../base/errors.ts";

/** Reads a text file that a flag names, without a byte order mark. Throws `file_not_found` and `invalid_option`. */
export function readText(file: string): string {
  const bytes = readBytes(file);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new MillraceError(
      "invalid_option",
      `${file} is no UTF-8 text. Give a text file, or convert it: iconv -f latin1 -t utf-8.`,
    );
  }
}

function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new MillraceError(
      "file_not_found",
      `${file} cannot be read: ${systemReasonOf(error)}. A readable text file is needed; check the path and its permissions.`,
      {
        cause: error,
      },
    );
  }
}
