import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { MillraceError } from "../base/errors.ts";
import { loadAddon } from "./addon.ts";

/** Bytes read at a time where no mapping is possible. */
const readChunk = 1 << 26;

/**
 * A file's bytes: a private memory mapping (pages come from the disk when touched and are shared between processes),
 * or a copy in memory without the native addon. The file must not be shortened while the buffer lives.
 *
 * @throws file_not_found when it cannot be opened or is a folder, invalid_model_file when it is empty
 */
export function mapFile(path: string): {
  readonly buffer: ArrayBuffer;
  /** Gives back the memory of pages that were read; reading them again brings them back. */
  dropPages(): void;
} {
  // Opening here gives Node's own message for a missing file, and a size before anything is mapped.
  const file = openFile(path);
  try {
    const info = fstatSync(file);
    const { size } = info;
    if (!info.isFile()) {
      throw new MillraceError(
        "file_not_found",
        `${path} is not a regular file; a model file is needed. Name the file itself, not its folder.`,
      );
    }
    if (size === 0) {
      throw new MillraceError(
        "invalid_model_file",
        `${path} is empty (0 bytes); a model file has a header at least. Fetch it again.`,
      );
    }
    const { addon } = loadAddon();
    const mapped = addon?.mapFile(path);
    return mapped instanceof ArrayBuffer
      ? { buffer: mapped, dropPages: () => addon?.dropPages(mapped) }
      : { buffer: readWhole(file, size, path), dropPages: () => {} };
  } finally {
    closeSync(file);
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "unknown error";
    throw new MillraceError(
      "file_not_found",
      `Cannot open ${path} (${code}); a readable file is needed. Check the path and its permissions.`,
      { cause },
    );
  }
}

function readWhole(file: number, size: number, path: string): ArrayBuffer {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const count = readSync(file, bytes, at, Math.min(readChunk, size - at), at);
    if (count === 0) {
      throw new MillraceError(
        "invalid_model_file",
        `${path} ended after ${at} of ${size} bytes while it was read. Let its writer finish, then try again.`,
      );
    }
    at += count;
  }
  return bytes.buffer;
}
