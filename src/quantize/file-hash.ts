import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import path from "node:path";
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
  const orUnreadable = (error: unknown): never => {
    throw unreadable(file, error);
  };
  const handle = await open(file).catch(orUnreadable);
  try {
    const read: Read = (buffer) => handle.read(buffer, 0, pieceBytes).catch(orUnreadable);
    return { name: path.basename(file), ...(await hashPieces(read, onBytes)) };
  } finally {
    await handle.close();
  }
}

/** Puts the next piece into a buffer. */
type Read = (buffer: Uint8Array) => Promise<{ readonly bytesRead: number; readonly buffer: Uint8Array }>;

/** The same of a file of `sizeBytes`, shown as a stage of its own. */
export async function hashShown(file: string, sizeBytes: number, progress: Progress): Promise<FileHash> {
  const name = path.basename(file);
  progress.start(`hash ${name}`, sizeBytes);
  const found = await hashFile(file, (done) => progress.update(done));
  progress.finish(`${name} hashed`);
  return found;
}

/** Through two buffers: one piece is read while the other is hashed. */
async function hashPieces(read: Read, onBytes: (done: number) => void): Promise<Omit<FileHash, "name">> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  const buffers = [new Uint8Array(pieceBytes), new Uint8Array(pieceBytes)] as const;
  let reading = read(buffers[0]);
  for (let index = 1; ; index += 1) {
    const { bytesRead, buffer } = await reading;
    if (bytesRead === 0) break;
    reading = read(buffers[index % 2]!);
    hash.update(buffer.subarray(0, bytesRead));
    sizeBytes += bytesRead;
    onBytes(sizeBytes);
  }
  return { sizeBytes, sha256: hash.digest("hex") };
}

export function hashText(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
