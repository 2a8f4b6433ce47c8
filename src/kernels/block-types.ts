import { iq4Levels } from "../base/iq4-levels.ts";

/** How a ggml block type holds integers. */
export interface BlockTraits {
  /** Values of a block. */
  readonly size: 32 | 256;
  readonly bytes: number;
  readonly bits: 4 | 5 | 6 | 8;
  /** Values that share a scale. */
  readonly groupSize: 16 | 32;
  readonly hasMinimums: boolean;
  /** The integers that codes stand for, rising; where left out, codes are the integers. */
  readonly levels?: Int8Array;
}

/** Block types that floats are rounded to, by their names in ggml. */
export type BlockType = "Q8_0" | "IQ4_NL" | "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1" | "Q4_K" | "Q5_K" | "Q6_K";

export const blockTraits: Readonly<Record<BlockType, BlockTraits>> = {
  Q8_0: { size: 32, bytes: 34, bits: 8, groupSize: 32, hasMinimums: false },
  IQ4_NL: { size: 32, bytes: 18, bits: 4, groupSize: 32, hasMinimums: false, levels: iq4Levels },
  Q4_0: { size: 32, bytes: 18, bits: 4, groupSize: 32, hasMinimums: false },
  Q4_1: { size: 32, bytes: 20, bits: 4, groupSize: 32, hasMinimums: true },
  Q5_0: { size: 32, bytes: 22, bits: 5, groupSize: 32, hasMinimums: false },
  Q5_1: { size: 32, bytes: 24, bits: 5, groupSize: 32, hasMinimums: true },
  Q4_K: { size: 256, bytes: 144, bits: 4, groupSize: 32, hasMinimums: true },
  Q5_K: { size: 256, bytes: 176, bits: 5, groupSize: 32, hasMinimums: true },
  Q6_K: { size: 256, bytes: 210, bits: 6, groupSize: 16, hasMinimums: false },
};

/** Rows of a matrix to round to blocks. */
export interface BlockJob {
  readonly type: BlockType;
  /** A multiple of the block size. */
  readonly cols: number;
  /** [rows, cols] f32, all finite. */
  readonly values: Float32Array;
  /** [cols] what an error in a column counts, above 0; null for 1. */
  readonly importance: Float32Array | null;
  /** Scales are searched for the least weighted squared error; without, they are the range of each group. */
  readonly isSearched: boolean;
  /** Out: the blocks of all rows. */
  readonly blocks: Uint8Array;
}
