import type { KvCache, KvCacheShape, LinearWeight, Tensor } from "../kernels/ops.ts";

/** A decoder-only language model bound to one `Ops` backend. */
export interface CausalModel {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Everything but `numBlocks` and `dtype` of the cache that the model wants. */
  readonly kvShape: Pick<KvCacheShape, "numLayers" | "numKvHeads" | "headDim">;
  /** The head; `scoreTargets` takes it with `finalNorm`'s output. */
  readonly head: LinearWeight;
  /** softCap · tanh(logit / softCap), for `scoreTargets`; 0 for none. `logits` has applied it. */
  readonly logitSoftCap: number;
  /**
   * Runs the layers over the batch given to `ops.beginStep` → f32 [numTokens, hiddenSize], before the final norm.
   * K and V of the batch are written to `cache`.
   */
  forward(cache: KvCache): Tensor;
  /** Final norm of the chosen rows in the head's input form: [count, hiddenSize]. */
  finalNorm(hidden: Tensor, rows: Int32Array, count: number): Tensor;
  /** f32 [rows of normed, vocabSize]. */
  logits(normed: Tensor): Tensor;
}

/** How weights and activations run; `--dtype` and `--activations` of the command line. */
export interface PrecisionOptions {
  /** `auto` keeps the file's integers or floats; else everything is dequantised and rounded to this type first. */
  readonly dtype: "auto" | "bfloat16" | "float16" | "float32";
  /** `auto`: W8A8 int8 per token; weight-only integers int8 in 32-blocks; bf16 weights bf16; f32 and f16 f32. */
  readonly activations: "auto" | "int8" | "int8-block32" | "bf16" | "f32";
}
