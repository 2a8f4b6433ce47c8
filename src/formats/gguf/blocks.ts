import { f16ToF32 } from "../../base/half.ts";
import type { IntegerWeight, Weight, WeightBlocks } from "../../base/weights.ts";
import { unpermuteRows } from "./row-order.ts";

/** A tensor's raw rows, in the file's order. */
export interface RawMatrix {
  readonly type: string;
  readonly rows: number;
  readonly cols: number;
  readonly data: Uint8Array;
  /** See `WeightBlocks`; 0 where left out. */
  readonly pairedHeadDim?: number;
}

type Groups = Pick<IntegerWeight, "codes" | "scales" | "minimums">;

interface BlockType {
  readonly bits: 8 | 4;
  readonly groupSize: number;
  readonly hasMinimums: boolean;
  /** Over all blocks of a tensor in one flat loop: some 1 ns a weight. */
  readonly read: (data: Uint8Array, count: number) => Groups;
}

const floats: Readonly<Partial<Record<string, "f32" | "f16" | "bf16">>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};

const blockTypes: Readonly<Record<WeightBlocks["type"], BlockType>> = {
  Q8_0: { bits: 8, groupSize: 32, hasMinimums: false, read: readQ8Zero },
  Q4_0: { bits: 4, groupSize: 32, hasMinimums: false, read: (data, count) => readQ4(data, count, false) },
  Q4_1: { bits: 4, groupSize: 32, hasMinimums: true, read: (data, count) => readQ4(data, count, true) },
  Q6_K: { bits: 8, groupSize: 16, hasMinimums: false, read: readQ6K },
};

/** The tensor types that become weights. */
export const readableTypes: readonly string[] = [...Object.keys(floats), ...Object.keys(blockTypes)];

/** A matrix as a weight, integers and scales unchanged; undefined for a type that is not read. */
export function readBlocks(matrix: RawMatrix): Weight | undefined {
  const { type, rows, cols, data, pairedHeadDim = 0 } = matrix;
  const dtype = floats[type];
  if (dtype !== undefined) {
    return { kind: "dense", rows, cols, dtype, data: inOrder(data, data.length / rows, pairedHeadDim) };
  }
  if (!isBlockType(type)) return undefined;
  return new BlockWeight(rows, cols, { type, data, pairedHeadDim });
}

function isBlockType(type: string): type is WeightBlocks["type"] {
  return Object.hasOwn(blockTypes, type);
}

function inOrder(data: Uint8Array, rowBytes: number, pairedHeadDim: number): Uint8Array {
  return pairedHeadDim === 0 ? data : unpermuteRows(data, rowBytes, pairedHeadDim);
}

/** Codes, scales and minimums are made when one of them is first asked for: kernels that know the blocks never do. */
class BlockWeight implements IntegerWeight {
  readonly kind = "integer";
  readonly activations = "unspecified";
  readonly rows: number;
  readonly cols: number;
  readonly bits: 8 | 4;
  readonly groupSize: number;
  readonly blocks: WeightBlocks;
  #groups: Groups | null = null;

  constructor(rows: number, cols: number, blocks: WeightBlocks) {
    const { bits, groupSize } = blockTypes[blocks.type];
    this.rows = rows;
    this.cols = cols;
    this.bits = bits;
    this.groupSize = groupSize;
    this.blocks = blocks;
  }

  get codes(): Uint8Array {
    return this.#read().codes;
  }

  get scales(): Float32Array {
    return this.#read().scales;
  }

  get minimums(): Float32Array | null {
    return blockTypes[this.blocks.type].hasMinimums ? this.#read().minimums : null;
  }

  #read(): Groups {
    const { type, data, pairedHeadDim } = this.blocks;
    this.#groups ??= blockTypes[type].read(
      inOrder(data, data.length / this.rows, pairedHeadDim),
      this.rows * this.cols,
    );
    return this.#groups;
  }
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
  return { codes, scales, minimums: null };
}
