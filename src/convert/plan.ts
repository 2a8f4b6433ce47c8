import type { TokenizerSource } from "../formats/checkpoint.ts";

export const convertDtypes = [
  "auto",
  "float32",
  "float16",
  "bfloat16",
  "q8_0",
  "q5_1",
  "q5_0",
  "q4_1",
  "q4_0",
] as const;

/** What weights become: "auto" keeps them to the bit; the others round, or widen, to that type. */
export type ConvertDtype = (typeof convertDtypes)[number];

export interface ConvertPlan {
  /** A name that ends with .gguf, which makes one file, or a folder to make. */
  readonly outPath: string;
  readonly dtype: ConvertDtype;
  /** In place of the model's own, or null. */
  readonly tokenizer: TokenizerSource | null;
  /** The most that the tensors of one file take, or null for one file. A single larger tensor has a file of its own. */
  readonly maxShardBytes: number | null;
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

/** Cuts a list into runs of at most `maxBytes`; at least one, of at least one item. */
export function shardsOf<T>(
  items: readonly T[],
  sizeOf: (item: T) => number,
  maxBytes: number | null,
): readonly (readonly T[])[] {
  const shards: T[][] = [[]];
  let filled = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (filled > 0 && maxBytes !== null && filled + size > maxBytes) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(item);
    filled += size;
  }
  return shards;
}
