import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";

export interface FileHash {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** Name, size and SHA-256 of a file, read in pieces. */
export async function hashFile(file: string): Promise<FileHash> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  return { name: path.basename(file), sizeBytes: statSync(file).size, sha256: hash.digest("hex") };
}

export function hashText(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
