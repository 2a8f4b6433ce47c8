import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";

/** Bytes read at a time: far above what a system call costs, far below what memory is asked about. */
const pieceBytes = 1 << 20;

export interface FileHash {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** Name, size and SHA-256 of a file, read in pieces. */
export async function hashFile(file: string): Promise<FileHash> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file, { highWaterMark: pieceBytes }), hash);
  return { name: path.basename(file), sizeBytes: statSync(file).size, sha256: hash.digest("hex") };
}

export function hashText(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
