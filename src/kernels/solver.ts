import type { BlockJob } from "./block-types.ts";

/** Rows to round column by column, each column's error passed on to those behind it (GPTQ). */
export interface RoundingJob {
  readonly rows: number;
  readonly cols: number;
  /** [rows, cols] in the order in which columns are rounded; used up. */
  readonly values: Float32Array;
  /** [rows, cols] out: −2^(bits−1) … 2^(bits−1)−1. */
  readonly codes: Int8Array;
  readonly bits: number;
  /** [rows, numGroups] */
  readonly scales: Float32Array;
  /** [rows, numGroups], or null for a symmetric grid. */
  readonly zeros: Float32Array | null;
  /** [cols] the group that each column belongs to. */
  readonly groups: Int32Array;
  /** [cols, cols] upper U of (XᵀX)⁻¹ = UᵀU. */
  readonly upper: Float32Array;
}

/**
 * Linear algebra of the quantiser. Every result is the same whatever the number of threads: sums have one order. Matrices
 * are f32 and row-major.
 */
export interface Solver {
  /** gram += XᵀX of x [count, cols]; only the upper half counts. `cols` is a multiple of 16. */
  addGram(x: Float32Array, count: number, gram: Float32Array): void;
  /**
   * Replaces the upper half of a symmetric [n, n] matrix by R of A = RᵀR, and writes R⁻¹, also upper. False where A is not
   * positive definite; the matrix is then spoilt.
   */
  factorize(matrix: Float32Array, n: number, inverse: Float32Array): boolean;
  roundRows(job: RoundingJob): void;
  roundBlocks(job: BlockJob): void;
  /** x·G·xᵀ of each row of x [rows, n] and a whole symmetric matrix G. */
  quadraticForms(x: Float32Array, gram: Float32Array, n: number): Float64Array;
  close(): void;
}
