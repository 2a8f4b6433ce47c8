import { readFileSync } from "node:fs";
import { MillraceError, systemReasonOf } from "../base/errors.ts";

/** Reads a text file that a flag names. */
export function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
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
