import type { OrderedWeight } from "../base/weights.ts";
import type { CodeRange } from "./block-codes.ts";
import type { BlockJob } from "./block-types.ts";
import type { Grid, Quantized } from "./grid.ts";

/** Rows to round column by column, each column's error passed on to those that are still to come (GPTQ). */
export interface RoundingJob {
  readonly cols: number;
  /** [rows, cols] */
  readonly values: Float32Array;
  readonly range: CodeRange;
  readonly groupSize: number;
  /** [rows, cols / groupSize]: w ≈ scale · integer + minimum. */
  readonly scales: Float32Array;
  /** The same shape, or null for 0. */
  readonly minimums: Float32Array | null;
  /** [cols] columns in the order in which they are rounded. */
  readonly order: Int32Array;
  /** [cols, cols] in that order, upper U of (XᵀX)⁻¹ = UᵀU. */
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
 * What the quantiser computes: Gram matrices and their factors, rounding, packing, and what tells written values from
 * wanted ones. Every result is the same whatever the number of threads: sums have one order. Matrices are f32 and row-major.
 */
export interface Solver {
  /** gram += XᵀX of x [count, cols]; only the upper half counts. `cols` is a multiple of 16. */
  addGram(x: Float32Array, count: number, gram: Float32Array): void;
  /** sums[j] += Σ x² over column j of x [count, cols], `cols` a multiple of 16. */
  addSquares(x: Float32Array, count: number, sums: Float32Array): void;
  /**
   * Replaces the upper half of a symmetric [n, n] matrix by R of A = RᵀR, and writes R⁻¹, also upper. False where A is not
   * positive definite; the matrix is then spoilt.
   */
  factorize(matrix: Float32Array, n: number, inverse: Float32Array): boolean;
  /** [rows, cols] integers in the order of the columns. */
  roundRows(job: RoundingJob): Int8Array;
  roundBlocks(job: BlockJob): void;
  roundGroups(job: GroupJob): Quantized;
  /** What integers stand for: `valuesOf`. */
  readGroups(quantized: Quantized, cols: number): Float32Array;
  /** Rows of 32-bit words, as bytes: `packCodes`. */
  packCodes(codes: Int8Array, cols: number, bits: number): Uint8Array;
  /**
   * Writes the values of a matrix [rows, cols] as the readers of the formats give them, but for the sign of zeros that
   * integers stand for. False, and nothing is written, where those readers are as fast.
   */
  readWeight(weight: OrderedWeight, values: Float32Array): boolean;
  areFinite(values: Float32Array): boolean;
  squaredErrors(wanted: Float32Array, written: Float32Array, cols: number): SquaredError;
  /** What tells rows of other values: `rowChecksums`. */
  rowChecksums(values: Float32Array, cols: number): Uint8Array;
  /** d·G·dᵀ of each row of d = x − y [rows, n], and of x itself where y is null, for a whole symmetric matrix G. */
  quadraticForms(x: Float32Array, y: Float32Array | null, gram: Float32Array, n: number): Float64Array;
  close(): void;
}
