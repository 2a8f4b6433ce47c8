import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import path from "node:path";
import { MillraceError, messageOf } from "./errors.ts";

/**
 * Writes a whole file under a temporary name and renames it, so that the final name never holds half a file.
 * Makes the folder when needed. Errors: `disk_full`.
 */
export function writeFileAtomically(file: string, content: string): void {
  const partial = `${file}.partial`;
  try {
    mkdirSync(path.dirname(file), { recursive: true });
    const descriptor = openSync(partial, "w");
    try {
      const bytes = Buffer.from(content, "utf8");
      for (let written = 0; written < bytes.length; ) {
        written += writeSync(descriptor, bytes, written, bytes.length - written);
      }
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(partial, file);
  } catch (error) {
    removeIfThere(partial);
    throw new MillraceError(
      "disk_full",
      `${file} could not be written: ${messageOf(error)}. Free space, check the permissions or choose another --out; nothing half-written was left.`,
      { cause: error },
    );
  }
}

/** Cleans up after a failed write; a folder that is not one has nothing to clean. */
function removeIfThere(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOTDIR") throw error;
  }
}
