import { readFileSync } from "node:fs";

interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** All F32 tensors of a safetensors file, read without the code under test. */
export function readFloatTensors(path: string): Map<string, Float32Array> {
  const bytes = readFileSync(path);
  const headerSize = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerSize)) as Record<string, TensorEntry>;
  const tensors = new Map<string, Float32Array>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__" || entry.dtype !== "F32") continue;
    const [start, end] = entry.data_offsets;
    const slice = bytes.subarray(8 + headerSize + start, 8 + headerSize + end);
    tensors.set(name, new Float32Array(Uint8Array.from(slice).buffer));
  }
  return tensors;
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

/** Largest difference relative to the spread (standard deviation) of the expected logits. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Infinity;
  const mean = expected.reduce((sum, x) => sum + x, 0) / expected.length;
  const variance = expected.reduce((sum, x) => sum + (x - mean) ** 2, 0) / expected.length;
  let largest = 0;
  for (let i = 0; i < actual.length; i += 1) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= largest)) largest = difference;
  }
  return largest / Math.sqrt(variance);
}
