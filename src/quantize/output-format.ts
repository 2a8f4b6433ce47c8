import type { FloatDtype } from "../base/weights.ts";
import type { TensorFile } from "../formats/tensor-file.ts";
import type { Solver } from "../kernels/solver.ts";
import type { WriteCompanions } from "./companion-files.ts";
import type { LinearInput } from "./input-source.ts";
import type { QuantizationTarget } from "./plan.ts";
import type { LinearOutcome } from "./row-rounder.ts";
import type { LinearShape } from "./scheme.ts";

/** Bytes of a tensor from `at` on. */
export interface TensorPiece {
  readonly name: string;
  readonly data: Uint8Array;
  readonly at: number;
}

/** Consecutive rows of a matrix, in f32. */
export interface RowBand {
  /** [count, cols] */
  readonly values: Float32Array;
  readonly firstRow: number;
  /** Whether the values are bf16 as the model's file has them. */
  readonly isStoredBf16: boolean;
}

/** What a band becomes. */
export interface EncodedBand {
  readonly pieces: readonly TensorPiece[];
  /** [count, cols] what a reader of the file gets. */
  readonly values: Float32Array;
}

/** Rounds the rows of one linear for its file; bands go through it in any order. */
export interface LinearEncoder {
  encode(band: RowBand): EncodedBand;
  /** Once all rows went through. */
  outcome(): LinearOutcome | null;
}

/** A matrix that stays floats. */
export interface DenseTarget extends LinearShape {
  readonly dtype: FloatDtype;
}

/** Bytes that a format takes in memory beside rows and weights, as measured: most are those of the vocabulary. */
export interface FormatMemory {
  /** While the file is begun. */
  readonly begun: number;
  /** While rows are written. */
  readonly writing: number;
  /** While what was written runs. */
  readonly running: number;
}

/** The file that a plan's weights go to: all sizes and places are known before a weight is read. */
export interface OutputFormat {
  readonly format: "compressed-tensors" | "gguf";
  /** Of the weights, within the folder that is made. */
  readonly fileName: string;
  /** Bytes of all tensors. */
  readonly sizeBytes: number;
  /** Rows of a band are a multiple of this, but for the last. */
  readonly rowUnit: number;
  readonly memory: FormatMemory;
  /** Throws `disk_full` or `output_unwritable`. */
  openFile(path: string, isResumed: boolean): TensorFile;
  /** `input` is what is known of what goes into the target, or null. */
  encoderOf(target: QuantizationTarget, input: LinearInput | null, solver: Solver): LinearEncoder;
  /** Rows of a dense matrix from `firstRow` on, in its type. */
  densePiece(target: DenseTarget, data: Uint8Array, firstRow: number): TensorPiece;
  /** A norm or a bias; `name` is its full name in the model. */
  vectorPiece(name: string, values: Float32Array): TensorPiece;
  /** What no tensor of the model holds. */
  readonly constants: readonly TensorPiece[];
  /** What a reader needs beside the weights. Throws for what cannot be read of the model, before a weight is. */
  readCompanions(): WriteCompanions;
}
