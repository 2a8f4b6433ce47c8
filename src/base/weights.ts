/**
 * The two shapes in which weights travel from files (`formats/`) to kernels (`kernels/`). Every file format maps to
 * one of them with its integers and scales unchanged; the kernels repack them once at load.
 */

export type FloatDtype = "f32" | "f16" | "bf16";

/** A float matrix as stored: little-endian, row-major. `data` may be a view of a mapped file: read only. */
export interface DenseWeight {
  readonly kind: "dense";
  /** Output features N. */
  readonly rows: number;
  /** Input features K, contiguous. */
  readonly cols: number;
  readonly dtype: FloatDtype;
  /** [rows, cols] elements of `dtype`; may be unaligned. */
  readonly data: Uint8Array;
}

/**
 * An integer matrix with a scale for each group of `groupSize` consecutive columns of a row.
 * Without `minimums`: w = scale · q, where q = code (8 bits, two's complement) or q = code − 8 (4 bits).
 * With `minimums`: w = scale · code + minimum, the code signed for 8 bits and 0…15 for 4 bits.
 * 2- and 3-bit files use the 4-bit form with the same q.
 */
export interface IntegerWeight {
  readonly kind: "integer";
  readonly rows: number;
  readonly cols: number;
  readonly bits: 8 | 4;
  /** Divides `cols`; equal to `cols` for one scale per output channel. */
  readonly groupSize: number;
  /** 8 bits: [rows, cols] int8. 4 bits: [rows, cols / 2], element 2i in the low nibble of byte i. */
  readonly codes: Uint8Array;
  /** [rows, cols / groupSize], the file's scales widened to f32 without loss. */
  readonly scales: Float32Array;
  /** [rows, cols / groupSize] or null. */
  readonly minimums: Float32Array | null;
  /** What the file says of activations: dynamic int8 per token (W8A8, W4A8), or nothing. */
  readonly activations: "int8-token" | "unspecified";
  /** The same matrix as the file has it. Kernels that read it so need neither codes nor scales, which then need not be made. */
  readonly blocks?: WeightBlocks;
}

/** A matrix in blocks of a GGUF file, row by row (ggml's formats of the same names). May be a view of a mapped file: read only. */
export interface WeightBlocks {
  readonly type: "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1" | "Q8_0" | "Q6_K";
  readonly data: Uint8Array;
  /**
   * 0, or the height d of the heads whose rows the file has in adjacent pairs: its row 2b + a of a head is row
   * a·(d/2) + b of the matrix (a ∈ {0, 1}, b < d/2).
   */
  readonly pairedHeadDim: number;
}

/**
 * An integer matrix whose columns are not its input's in order: column j of `matrix` multiplies column `columns[j]` of the
 * input. So GPTQ's activation order has groups that are runs of columns.
 */
export interface ReorderedWeight {
  readonly kind: "reordered";
  readonly rows: number;
  readonly cols: number;
  readonly matrix: IntegerWeight;
  /** [cols] a permutation. */
  readonly columns: Int32Array;
}

/** What kernels pack. */
export type OrderedWeight = DenseWeight | IntegerWeight;

export type Weight = OrderedWeight | ReorderedWeight;

/** What the headers of a file tell of an integer matrix. */
export interface IntegerForm
  extends Pick<IntegerWeight, "kind" | "rows" | "cols" | "bits" | "groupSize" | "activations"> {
  readonly hasMinimums: boolean;
  /** Of a scale, and of a minimum, as kernels hold it. */
  readonly scaleBytes: 2 | 4;
  /** It is the matrix of a `ReorderedWeight`. */
  readonly isReordered?: boolean;
}

/** What the headers of a file tell of a float matrix. */
export interface DenseForm extends Omit<DenseWeight, "data"> {
  /** Whether reading it makes f32 of a type that kernels do not have, such as FP8: whole, in memory of its own. */
  readonly isWidened?: boolean;
}

/** A weight without its numbers. */
export type WeightForm = DenseForm | IntegerForm;
