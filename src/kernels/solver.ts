import type { BlockJob } from "./block-types.ts";
import type { Grid, Quantized } from "./grid.ts";

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

/** Rows of a matrix to put on a grid. */
export interface GroupJob {
  /** A multiple of the group size. */
  readonly cols: number;
  /** [rows, cols] f32, all finite. */
  readonly values: Float32Array;
  readonly grid: Grid;
  /** [cols] what an error in a column counts, above 0; null for 1. */
  readonly importance: Float32Array | null;
  /** Scales are searched for the least weighted squared error; without, they are the range of each group. */
  readonly isSearched: boolean;
}

/** How far one matrix is from another: sums of rows, in f64. */
export interface SquaredError {
  /** Σ (wanted − written)² */
  readonly error: number;
  /** Σ wanted² */
  readonly sum: number;
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
  roundGroups(job: GroupJob): Quantized;
  /** What integers stand for: `valuesOf`. */
  readGroups(quantized: Quantized, cols: number): Float32Array;
  /** Rows of 32-bit words, as bytes: `packCodes`. */
  packCodes(codes: Int8Array, cols: number, bits: number): Uint8Array;
  squaredErrors(wanted: Float32Array, written: Float32Array, cols: number): SquaredError;
  /** x·G·xᵀ of each row of x [rows, n] and a whole symmetric matrix G. */
  quadraticForms(x: Float32Array, gram: Float32Array, n: number): Float64Array;
  close(): void;
}
