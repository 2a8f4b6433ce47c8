import { type FileHandle, open, rename, rm } from "node:fs/promises";
import path from "node:path";
import { isMillraceError, MillraceError, messageOf } from "../base/errors.ts";

/**
 * Writes a file under a temporary name beside its final one, syncs it and renames it, so that the final name never
 * shows a part of it. `write` gets the open file. Throws `disk_full` when the system refuses a write.
 */
export async function writeAtomically(
  file: string,
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}.tmp`);
  try {
    const handle = await open(temporary, "w");
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    await syncFolder(path.dirname(file));
  } catch (error) {
    await rm(temporary, { force: true });
    throw isSystemError(error) && !isMillraceError(error) ? unwritable(file, error) : error;
  }
}

/** Makes the rename itself last through a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}

function unwritable(file: string, error: unknown): MillraceError {
  return new MillraceError(
    "disk_full",
    `${file} cannot be written: ${messageOf(error)}. Free space or choose another --out; nothing is left under the final name.`,
    { cause: error },
  );
}
