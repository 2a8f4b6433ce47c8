import { accessSync, constants, existsSync, statSync } from "node:fs";
import path from "node:path";
import { MillraceError, messageOf } from "../base/errors.ts";

/**
 * Refuses a folder that cannot be made or written, so that long work does not end with a result that has no place.
 * Makes nothing. Throws `disk_full`.
 */
export function checkOutputFolder(folder: string): void {
  let nearest = path.resolve(folder);
  while (!existsSync(nearest)) nearest = path.dirname(nearest);
  const refuse = (problem: string, cause?: unknown): MillraceError =>
    new MillraceError(
      "disk_full",
      `${folder} cannot be written: ${problem}. It takes a writable folder, or a new one inside one. Choose another --out.`,
      { param: "--out", cause },
    );
  if (!statSync(nearest).isDirectory()) throw refuse(`${nearest} is a file`);
  try {
    accessSync(nearest, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw refuse(messageOf(error), error);
  }
}
