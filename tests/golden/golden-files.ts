import { readFileSync } from "node:fs";

interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

export interface StoredTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** All tensors of a safetensors file in the order of its header, read without the code under test. */
export function readTensors(path: string): StoredTensor[] {
  const bytes = readFileSync(path);
  const headerSize = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerSize)) as Record<string, TensorEntry>;
  return Object.entries(header)
    .filter(([name]) => name !== "__metadata__")
    .map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [start, end],
        },
      ]) => {
        const data = Uint8Array.from(bytes.subarray(8 + headerSize + start, 8 + headerSize + end));
        return { name, dtype, shape, data };
      },
    );
}

/** All F32 tensors of a safetensors file, read without the code under test. */
export function readFloatTensors(path: string): Map<string, Float32Array> {
  const floats = readTensors(path).filter(({ dtype }) => dtype === "F32");
  return new Map(floats.map(({ name, data }) => [name, new Float32Array(data.buffer)]));
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
