import { accessSync, constants, existsSync, statSync } from "node:fs";
import path from "node:path";
import { systemReasonOf } from "../base/errors.ts";
import { unwritable } from "../base/write-file.ts";

/**
 * Refuses a folder that cannot be made or written, so that long work does not end with a result that has no place.
 * Makes nothing. Throws `output_unwritable`.
 */
export function checkOutputFolder(folder: string): void {
  let nearest = path.resolve(folder);
  while (!existsSync(nearest)) nearest = path.dirname(nearest);
  if (!statSync(nearest).isDirectory()) throw unwritable(folder, `${nearest} is a file`);
  try {
    accessSync(nearest, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw unwritable(folder, systemReasonOf(error), error);
  }
}
