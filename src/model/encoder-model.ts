import type { KvCache, KvCacheShape, RaggedBatch, Tensor } from "../kernels/ops.ts";

/** A bidirectional encoder bound to one `Ops` backend: text to one hidden state per token. */
export interface EncoderModel {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** K and V of one layer at a time: they are read in the step that wrote them. */
  readonly kvShape: Pick<KvCacheShape, "numLayers" | "numKvHeads" | "headDim">;
  /**
   * Runs the layers over whole sequences → f32 [numTokens, hiddenSize] of the last layer. `cache` has room for all
   * tokens of the batch.
   */
  forward(batch: RaggedBatch, cache: KvCache): Tensor;
}

/** How the hidden states of a text become one vector. */
export interface Pooling {
  /** The mean over all tokens, or the state of the first one. */
  readonly kind: "mean" | "cls";
  /** Scaled to length 1. */
  readonly normalize: boolean;
}

/**
 * One vector of a text's hidden states, sums in f64.
 *
 * @param hidden [count, into.length] rows from `first` row on
 */
export function poolRows(
  hidden: Float32Array,
  { first, count }: { readonly first: number; readonly count: number },
  { kind, normalize }: Pooling,
  into: Float32Array,
): void {
  const width = into.length;
  const used = kind === "mean" ? count : 1;
  let squares = 0;
  for (let i = 0; i < width; i += 1) {
    let sum = 0;
    for (let row = first; row < first + used; row += 1) sum += hidden[row * width + i]!;
    into[i] = sum / used;
    squares += into[i]! ** 2;
  }
  // As torch.nn.functional.normalize: a vector of zeros stays one.
  const length = Math.max(Math.sqrt(squares), 1e-12);
  if (normalize) for (let i = 0; i < width; i += 1) into[i]! /= length;
}
