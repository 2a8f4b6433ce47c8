import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import path from "node:path";
import { isMillraceError } from "../base/errors.ts";
import type { Progress } from "../base/progress.ts";
import { unreadable } from "../formats/file-access.ts";

/** Bytes read at a time: far above what a system call costs, far below what memory is asked about. */
const pieceBytes = 1 << 20;

export interface FileHash {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/**
 * Name, size and SHA-256 of a file. Throws `file_not_found` for one that cannot be read, and what `onBytes` throws, which
 * hears how much is done.
 */
export async function hashFile(file: string, onBytes: (done: number) => void = () => {}): Promise<FileHash> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file);
    return { name: path.basename(file), ...(await hashOpened(handle, onBytes)) };
  } catch (error) {
    throw isMillraceError(error) ? error : unreadable(file, error);
  } finally {
    await handle?.close();
  }
}

/** The same of a file of `sizeBytes`, shown as a stage of its own. */
export async function hashShown(file: string, sizeBytes: number, progress: Progress): Promise<FileHash> {
  const name = path.basename(file);
  progress.start(`hash ${name}`, sizeBytes);
  const found = await hashFile(file, (done) => progress.update(done));
  progress.finish(`${name} hashed`);
  return found;
}

/** Through two buffers: one piece is read while the other is hashed. */
async function hashOpened(
  handle: FileHandle,
  onBytes: (done: number) => void,
): Promise<Omit<FileHash, "name">> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  const buffers = [new Uint8Array(pieceBytes), new Uint8Array(pieceBytes)] as const;
  let reading = handle.read(buffers[0], 0, pieceBytes);
  for (let index = 1; ; index += 1) {
    const { bytesRead, buffer } = await reading;
    if (bytesRead === 0) break;
    reading = handle.read(buffers[index % 2]!, 0, pieceBytes);
    hash.update(buffer.subarray(0, bytesRead));
    sizeBytes += bytesRead;
    onBytes(sizeBytes);
  }
  return { sizeBytes, sha256: hash.digest("hex") };
}

export function hashText(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
