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

/** Name, size and SHA-256 of a file, read through one buffer. */
export async function hashFile(file: string): Promise<FileHash> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(pieceBytes);
  const handle = await open(file);
  let sizeBytes = 0;
  try {
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, pieceBytes);
      if (bytesRead === 0) break;
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
