import type { TokenizerSource } from "../formats/checkpoint.ts";

export const convertDtypes = ["auto", "float32", "float16", "bfloat16", "q8_0", "q4_0"] as const;

/** What weights become: "auto" keeps them to the bit; the others round, or widen, to that type. */
export type ConvertDtype = (typeof convertDtypes)[number];

export interface ConvertPlan {
  /** A name that ends with .gguf, which makes one file, or a folder to make. */
  readonly outPath: string;
  readonly dtype: ConvertDtype;
  /** In place of the model's own, or null. */
  readonly tokenizer: TokenizerSource | null;
}

export interface ConversionSummary {
  readonly outPath: string;
  readonly format: "safetensors" | "gguf";
  readonly weightFormat: string;
  /** Bytes of all tensors, without headers. */
  readonly sizeBytes: number;
  readonly numTensors: number;
  /** What the user should know. */
  readonly notes: readonly string[];
}
