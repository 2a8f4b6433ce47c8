import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import path from "node:path";

/** Bytes read at a time: far above what a system call costs, far below what memory is asked about. */
const pieceBytes = 1 << 20;

export interface FileHash {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** Name, size and SHA-256 of a file, read through two buffers. */
export async function hashFile(file: string): Promise<FileHash> {
  const hash = createHash("sha256");
  const handle = await open(file);
  let sizeBytes = 0;
  try {
    // One piece is read while the other is hashed.
    const buffers = [new Uint8Array(pieceBytes), new Uint8Array(pieceBytes)] as const;
    let reading = handle.read(buffers[0], 0, pieceBytes);
    for (let index = 1; ; index += 1) {
      const { bytesRead, buffer } = await reading;
      if (bytesRead === 0) break;
      reading = handle.read(buffers[index % 2]!, 0, pieceBytes);
      hash.update(buffer.subarray(0, bytesRead));
      sizeBytes += bytesRead;
    }
  } finally {
    await handle.close();
  }
  return { name: path.basename(file), sizeBytes, sha256: hash.digest("hex") };
}

export function hashText(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
