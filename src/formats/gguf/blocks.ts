import { f16ToF32 } from "../../base/half.ts";
import type { IntegerWeight, Weight } from "../../base/weights.ts";

/** A tensor's raw rows, in the order wanted. */
export interface RawMatrix {
  readonly type: string;
  readonly rows: number;
  readonly cols: number;
  readonly data: Uint8Array;
}

/** Codes and scales before they become a weight. */
type Groups = Pick<IntegerWeight, "bits" | "groupSize" | "codes" | "scales" | "minimums">;

const floats: Readonly<Partial<Record<string, "f32" | "f16" | "bf16">>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};

/** Readers of block types, each over all blocks of a tensor in one flat loop: some 1 ns a weight. */
const readers: Readonly<Partial<Record<string, (data: Uint8Array, count: number) => Groups>>> = {
  Q8_0: readQ8Zero,
  Q4_0: (data, count) => readQ4(data, count, false),
  Q4_1: (data, count) => readQ4(data, count, true),
  Q6_K: readQ6K,
};

/** The tensor types that become weights. */
export const readableTypes: readonly string[] = [...Object.keys(floats), ...Object.keys(readers)];

/** A matrix as a weight, integers and scales unchanged; undefined for a type that is not read. */
export function readBlocks(matrix: RawMatrix): Weight | undefined {
  const { type, rows, cols, data } = matrix;
  const dtype = floats[type];
  if (dtype !== undefined) return { kind: "dense", rows, cols, dtype, data };
  const groups = readers[type]?.(data, rows * cols);
  return groups && { kind: "integer", rows, cols, ...groups, activations: "unspecified" };
}

/** Values of a block of Q8_0, Q4_0 and Q4_1 (ggml: QK8_0, QK4_0, QK4_1). */
const blockSize = 32;

/** Values and bytes of a block of Q6_K (ggml: QK_K, block_q6_K). */
const superBlockSize = 256;
const q6kBytes = 210;

/** Q8_0: f16 d, 32 × int8. */
function readQ8Zero(data: Uint8Array, count: number): Groups {
  const numBlocks = count / blockSize;
  const codes = new Uint8Array(count);
  const scales = new Float32Array(numBlocks);
  for (let block = 0, from = 0, to = 0; block < numBlocks; block += 1) {
    scales[block] = f16ToF32(data[from]! | (data[from + 1]! << 8));
    from += 2;
    for (const end = from + blockSize; from < end; from += 1, to += 1) codes[to] = data[from]!;
  }
  return { bits: 8, groupSize: blockSize, codes, scales, minimums: null };
}

/**
 * Q4_0: f16 d, 16 bytes; Q4_1: f16 d, f16 m, 16 bytes. Byte j holds value j in its low nibble and value j + 16 in
 * its high one; our codes hold neighbours in one byte.
 */
function readQ4(data: Uint8Array, count: number, hasMinimum: boolean): Groups {
  const numBlocks = count / blockSize;
  const codes = new Uint8Array(count / 2);
  const scales = new Float32Array(numBlocks);
  const minimums = hasMinimum ? new Float32Array(numBlocks) : null;
  for (let block = 0, from = 0, to = 0; block < numBlocks; block += 1) {
    scales[block] = f16ToF32(data[from]! | (data[from + 1]! << 8));
    from += 2;
    if (minimums !== null) {
      minimums[block] = f16ToF32(data[from]! | (data[from + 1]! << 8));
      from += 2;
    }
    for (const end = from + blockSize / 2; from < end; from += 2, to += 1) {
      const first = data[from]!;
      const second = data[from + 1]!;
      codes[to] = (first & 15) | ((second & 15) << 4);
      codes[to + 8] = (first >> 4) | (second & 0xf0);
    }
    to += 8;
  }
  return { bits: 4, groupSize: blockSize, codes, scales, minimums };
}

/**
 * Q6_K: 128 bytes of low nibbles, 64 bytes of high pairs, 16 int8 scales, f16 d, for 256 values in two halves.
 * d·scale has at most 19 significant bits, so it is exact in f32.
 */
function readQ6K(data: Uint8Array, count: number): Groups {
  const numBlocks = count / superBlockSize;
  const codes = new Uint8Array(count);
  const scales = new Float32Array(count / 16);
  for (let block = 0; block < numBlocks; block += 1) {
    const start = block * q6kBytes;
    const d = f16ToF32(data[start + 208]! | (data[start + 209]! << 8));
    for (let i = 0; i < 16; i += 1) scales[block * 16 + i] = d * ((data[start + 192 + i]! << 24) >> 24);
    for (let half = 0; half < 2; half += 1) {
      const low = start + half * 64;
      const high = start + 128 + half * 32;
      const to = block * superBlockSize + half * 128;
      for (let i = 0; i < 32; i += 1) {
        const pairs = data[high + i]!;
        const first = data[low + i]!;
        const second = data[low + 32 + i]!;
        codes[to + i] = ((first & 15) | ((pairs & 3) << 4)) - 32;
        codes[to + 32 + i] = ((second & 15) | ((pairs & 12) << 2)) - 32;
        codes[to + 64 + i] = ((first >> 4) | (pairs & 48)) - 32;
        codes[to + 96 + i] = ((second >> 4) | ((pairs & 192) >> 2)) - 32;
      }
    }
  }
  return { bits: 8, groupSize: 16, codes, scales, minimums: null };
}
