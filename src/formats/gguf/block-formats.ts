import { f16ToF32 } from "../../base/half.ts";
import { iq4Levels } from "../../base/iq4-levels.ts";
import type { IntegerWeight } from "../../base/weights.ts";
import { readQ4K, readQ5K, readQ6K } from "./k-blocks.ts";

export type Groups = Pick<IntegerWeight, "codes" | "scales" | "minimums">;

/** How blocks of a ggml type become integers with scales. */
export interface BlockFormat {
  readonly bits: 8 | 4;
  readonly groupSize: number;
  readonly hasMinimums: boolean;
  /** Of a scale, and of a minimum, as kernels hold it. */
  readonly scaleBytes: 2 | 4;
  /** Over all blocks of a tensor in one flat loop: some 1 ns a weight. */
  readonly read: (data: Uint8Array, count: number) => Groups;
}

/** By ggml type. Integers of 5 and 6 bits and those behind a table take the form of 8 bits. */
export const blockFormats: Readonly<Partial<Record<string, BlockFormat>>> = {
  Q8_0: { bits: 8, groupSize: 32, hasMinimums: false, scaleBytes: 2, read: readQ8Zero },
  Q4_0: {
    bits: 4,
    groupSize: 32,
    hasMinimums: false,
    scaleBytes: 2,
    read: (data, count) => readQ4(data, count, false),
  },
  Q4_1: {
    bits: 4,
    groupSize: 32,
    hasMinimums: true,
    scaleBytes: 2,
    read: (data, count) => readQ4(data, count, true),
  },
  Q5_0: {
    bits: 8,
    groupSize: 32,
    hasMinimums: false,
    scaleBytes: 2,
    read: (data, count) => readQ5(data, count, false),
  },
  Q5_1: {
    bits: 8,
    groupSize: 32,
    hasMinimums: true,
    scaleBytes: 2,
    read: (data, count) => readQ5(data, count, true),
  },
  IQ4_NL: { bits: 8, groupSize: 32, hasMinimums: false, scaleBytes: 2, read: readIq4Nl },
  Q4_K: { bits: 4, groupSize: 32, hasMinimums: true, scaleBytes: 4, read: readQ4K },
  Q5_K: { bits: 8, groupSize: 32, hasMinimums: true, scaleBytes: 4, read: readQ5K },
  Q6_K: { bits: 8, groupSize: 16, hasMinimums: false, scaleBytes: 4, read: readQ6K },
};

/** Values of a block of every type in this file (ggml: QK8_0, QK4_0, QK5_0, QK4_NL …). */
const blockSize = 32;

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
  return { codes, scales, minimums: null };
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
  return { codes, scales, minimums };
}

/**
 * Q5_0: f16 d, u32 of fifth bits, 16 bytes; q = code − 16. Q5_1: f16 d, f16 m, then the same; q = code. Nibbles lie as
 * in Q4_0; bit i of the word belongs to value i.
 */
function readQ5(data: Uint8Array, count: number, hasMinimum: boolean): Groups {
  const numBlocks = count / blockSize;
  const half = blockSize / 2;
  const zero = hasMinimum ? 0 : 16;
  const codes = new Uint8Array(count);
  const scales = new Float32Array(numBlocks);
  const minimums = hasMinimum ? new Float32Array(numBlocks) : null;
  for (let block = 0, from = 0, to = 0; block < numBlocks; block += 1, to += blockSize) {
    scales[block] = f16ToF32(data[from]! | (data[from + 1]! << 8));
    from += 2;
    if (minimums !== null) {
      minimums[block] = f16ToF32(data[from]! | (data[from + 1]! << 8));
      from += 2;
    }
    const high = data[from]! | (data[from + 1]! << 8) | (data[from + 2]! << 16) | (data[from + 3]! << 24);
    from += 4;
    for (let j = 0; j < half; j += 1, from += 1) {
      const byte = data[from]!;
      codes[to + j] = ((byte & 15) | (((high >>> j) & 1) << 4)) - zero;
      codes[to + j + half] = ((byte >> 4) | (((high >>> (j + half)) & 1) << 4)) - zero;
    }
  }
  return { codes, scales, minimums };
}

/** IQ4_NL: f16 d, 16 bytes of nibbles as in Q4_0, each a place in the table. */
function readIq4Nl(data: Uint8Array, count: number): Groups {
  const numBlocks = count / blockSize;
  const half = blockSize / 2;
  const codes = new Uint8Array(count);
  const scales = new Float32Array(numBlocks);
  for (let block = 0, from = 0, to = 0; block < numBlocks; block += 1, to += half) {
    scales[block] = f16ToF32(data[from]! | (data[from + 1]! << 8));
    from += 2;
    for (const end = from + half; from < end; from += 1, to += 1) {
      codes[to] = iq4Levels[data[from]! & 15]!;
      codes[to + half] = iq4Levels[data[from]! >> 4]!;
    }
  }
  return { codes, scales, minimums: null };
}
