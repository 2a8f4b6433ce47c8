import type { RowDivergences } from "../base/row-divergences.ts";
import type { OrderedWeight } from "../base/weights.ts";
import type { SamplingBatch, SamplingOutput, ScoreOutput } from "./sampling.ts";

/**
 * How a matrix of activations is held. `rmsNorm`, `quantize` and attention write it once in the form that the next
 * linear's weight wants (`LinearWeight.inputForm`), for all consumers.
 * - `int8-token`: int8 with one f32 scale per row, scale = amax / 127, half to even
 * - `int8-block32`: int8 with one f32 scale per 32 columns of a row, same rule
 */
export type TensorForm = "f32" | "bf16" | "int8-token" | "int8-block32";

/** A matrix in the arena, valid until the next `beginStep` or a `releaseAfter` of an older one. */
export interface Tensor {
  readonly id: number;
  readonly rows: number;
  readonly cols: number;
  readonly form: TensorForm;
}

/** A weight matrix [rows, cols], repacked for the backend; lives until `Ops.freeLinear` or `Ops.close`. */
export interface LinearWeight {
  readonly id: number;
  readonly name: string;
  /** Output features N, all parts together. */
  readonly rows: number;
  readonly cols: number;
  /** Form in which `linear` takes its input. */
  readonly inputForm: TensorForm;
  /** Where columns are gathered first: the form that the kernel gets them in. */
  readonly gatheredForm?: TensorForm;
  /** For people: "int4 g32 + min", "bf16", "int8 channel" … */
  readonly weightForm: string;
  /** `paired`: rows of two equal parts interleaved for a gated epilogue. */
  readonly layout: "rows" | "paired";
  /** Bytes that the packed form holds in memory. */
  readonly sizeBytes: number;
}

export interface VectorWeight {
  readonly id: number;
  readonly length: number;
}

/** Rotation tables, [maxPositions, rotaryDim / 2] f32 each, already multiplied by any attention factor. */
export interface RopeTable {
  readonly id: number;
  readonly rotaryDim: number;
  readonly maxPositions: number;
}

/**
 * How K and V are stored. `int8`: codes with one f32 scale per token and head for K and one for V, amax / 127, half to
 * even. f32, because kernels read scales as they are and no amax is out of range; they add 4 bytes to headDim.
 */
export type KvDtype = "f32" | "f16" | "bf16" | "int8";

export interface KvCacheShape {
  readonly numLayers: number;
  readonly numBlocks: number;
  /** Tokens per block. */
  readonly blockSize: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly dtype: KvDtype;
}

export interface KvCache extends KvCacheShape {
  readonly id: number;
  readonly sizeBytes: number;
}

/** Memory outside a KV cache that blocks of it can be moved to and back; lives until `Ops.close`. */
export interface KvHost {
  readonly id: number;
  /** Blocks of the cache's size that it holds. */
  readonly numBlocks: number;
  readonly sizeBytes: number;
}

/**
 * From where to where a move copies: `copy` from cache block to cache block, `out` from cache block to host block,
 * `in` from host block to cache block.
 */
export const kvMoveKinds = { copy: 0, out: 1, in: 2 } as const;

/** Copies of KV blocks, in the order in which they are done. Arrays may be longer than `count`. */
export interface KvMoves {
  count: number;
  /** [count] a value of `kvMoveKinds`. */
  readonly kinds: Uint8Array;
  /** [count] block to read. */
  readonly sources: Int32Array;
  /** [count] block to write. */
  readonly targets: Int32Array;
  /** [count] the first tokens of the block, 0 to blockSize; the rest of the target stays as it is. */
  readonly numTokens: Int32Array;
}

/**
 * The tokens of one step: for each sequence a run of query tokens, ragged, prefill and decode mixed.
 * Arrays may be longer than needed; `numTokens` and `numSeqs` say what counts.
 */
export interface RaggedBatch {
  numTokens: number;
  numSeqs: number;
  /** [numTokens] */
  readonly tokenIds: Int32Array;
  /** [numTokens] position of each token in its sequence. */
  readonly positions: Int32Array;
  /** [numTokens] where K and V of the token go: block · blockSize + offset. */
  readonly slots: Int32Array;
  /** [numSeqs + 1] first query token of each sequence; the last entry is numTokens. */
  readonly queryStarts: Int32Array;
  /** [numSeqs] tokens of the sequence in the cache once this step's are written. */
  readonly contextLengths: Int32Array;
  /** [numSeqs, blockTableStride] physical blocks of each sequence in order. */
  readonly blockTables: Int32Array;
  readonly blockTableStride: number;
}

export interface PackOptions {
  readonly name: string;
  /** Input form to serve; the backend refuses a pair (weight, form) that it has no kernel for. */
  readonly inputForm: TensorForm;
  readonly layout?: "rows" | "paired";
  /**
   * Column of the input that each column of the parts multiplies, a permutation; null, the default, for as they come.
   * `linear` then takes f32, gathers its columns and converts them to `inputForm`. Not for embeddings.
   */
  readonly columns?: Int32Array | null;
}

/** Done while the result is still in registers, in this order: bias, residual, activation, form. */
export interface LinearEpilogue {
  /** [weight.rows], in the order of the parts as they were packed, also for `paired`. */
  readonly bias?: VectorWeight;
  /** f32 [rows of x, out cols], added to in place; the linear then returns it. */
  readonly residual?: Tensor;
  /** For `paired` weights; halves the output width. Without one the parts come one after the other. */
  readonly activation?: GatedActivation;
  /** Form of the result, written as `convert` would; f32 by default, and always with a residual. */
  readonly as?: TensorForm;
}

/** out[i] = act(first[i]) · second[i], with act SiLU or the tanh form of GELU. */
export type GatedActivation = "silu-mul" | "gelu-mul";

export interface AttentionShape {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
}

/** RMS norms of q and k: over each head where a weight has headDim entries, over all heads where it has all of them. */
export interface QkNorm {
  readonly q: VectorWeight;
  readonly k: VectorWeight;
  readonly eps: number;
}

export interface RopeOptions extends AttentionShape {
  /** Before the rotation. */
  readonly qkNorm?: QkNorm | undefined;
}

export interface AttentionOptions extends AttentionShape {
  /** Multiplies q·k, usually 1 / sqrt(headDim). */
  readonly scale: number;
  /** Attend to the last `slidingWindow` positions only; 0 for all. */
  readonly slidingWindow?: number;
  /** softCap · tanh(score / softCap); 0 for none. */
  readonly softCap?: number;
  /**
   * Default true. False: each token sees its whole sequence of `contextLengths` tokens, all of them written to the
   * cache before; without a sliding window.
   */
  readonly isCausal?: boolean;
}

/**
 * Operands of the products of attention. `bf16`: scaled q, k, v and the weights of softmax are rounded to bf16, those of
 * an int8 cache as codes, with the scale of V taken into the weights; sums and softmax stay f32.
 */
export type AttentionDtype = "f32" | "bf16";

export interface LayerNorm {
  readonly weight: VectorWeight;
  readonly bias: VectorWeight;
  readonly eps: number;
}

/** Rows of a tensor, each with a factor. Arrays may be longer than needed. */
export interface WeightedRows {
  readonly rows: Int32Array;
  readonly weights: Float32Array;
}

/**
 * Which tokens go to which expert of a mixture, and with what weight: [numTokens · topK] rows, ascending for each
 * expert. Arrays may be longer than needed.
 */
export interface MoeRouting extends WeightedRows {
  /** Experts that each token goes to. */
  readonly topK: number;
  /** Weights are the softmax over all experts; true: over the chosen ones. */
  readonly normalize: boolean;
  /** [numExperts + 1] where each expert's places begin. */
  readonly starts: Int32Array;
}

/**
 * Eager tensor operations of one backend. Integer handles in a preallocated arena; a call costs well under a
 * microsecond, so a step is simply a list of calls. All outputs are new tensors unless said otherwise.
 *
 * Law of every operation: a row of the result depends on that row's inputs only, with one fixed order of
 * floating-point operations, whatever the number of rows and threads.
 */
export interface Ops {
  readonly backend: "native" | "reference";
  /** "avx2", "avx512", "avx512-bf16", "amx" or "scalar". */
  readonly isa: string;
  readonly numThreads: number;
  readonly attentionDtype: AttentionDtype;

  /** Repacks one matrix, or several with the same `cols` stacked along the rows. Source bytes may go away after. */
  packLinear(parts: readonly OrderedWeight[], options: PackOptions): LinearWeight;
  /** Gives the memory of a weight back; not within a step. */
  freeLinear(weight: LinearWeight): void;
  loadVector(values: Float32Array): VectorWeight;
  loadRope(cos: Float32Array, sin: Float32Array, rotaryDim: number): RopeTable;
  createKvCache(shape: KvCacheShape): KvCache;
  /** Room for `numBlocks` blocks of `cache`, at least one; other caches cannot use it. */
  createKvHost(cache: KvCache, numBlocks: number): KvHost;
  /**
   * Copies whole tokens between blocks: all layers, K and V, as stored. Moves happen in list order, so that one may
   * read what an earlier one wrote. All are checked before the first is done. Needs no step; within one, it comes
   * before the first operation on the cache. `host` may be null where every move is a `copy`.
   */
  moveKv(cache: KvCache, host: KvHost | null, moves: KvMoves): void;
  /** Whether the first `numTokens` tokens of two blocks are stored as the same bytes, in all layers. */
  equalKv(cache: KvCache, blockA: number, blockB: number, numTokens: number): boolean;

  /** Resets the arena, keeps `batch` for the operations of this step and wakes the threads. */
  beginStep(batch: RaggedBatch): void;
  /** Lets the threads park. */
  endStep(): void;
  /** Resolves when queued work is done; returns undefined where the backend works eagerly (both CPU backends). */
  flush(): Promise<void> | undefined;

  /** Rows of the step's token ids, or of `ids`: f32 [numTokens, table.cols]. `table` may be the tied head. */
  embed(table: LinearWeight, ids?: Int32Array): Tensor;
  rmsNorm(x: Tensor, weight: VectorWeight, eps: number, as: TensorForm): Tensor;
  /** (x − mean) / √(variance + eps) · weight + bias over the columns, in place, f32. */
  layerNorm(x: Tensor, norm: LayerNorm): void;
  /** x [T, K] in `weight.inputForm` → [T, N] (N / 2 with a gated activation) in f32 or `epilogue.as`. */
  linear(x: Tensor, weight: LinearWeight, epilogue?: LinearEpilogue): Tensor;
  /** Halves the columns of f32: act(first half) · second half. */
  gate(x: Tensor, activation: GatedActivation): Tensor;
  /** Converts an f32 tensor to any form, and one of any form to f32. */
  convert(x: Tensor, as: TensorForm): Tensor;
  /** Adds in place: x += scale · y, both f32; scale is 1 by default. */
  addInto(x: Tensor, y: Tensor, scale?: number): void;
  /** Multiplies in place, f32. */
  scale(x: Tensor, factor: number): void;
  /** cap · tanh(x / cap) in place, f32. */
  softCap(x: Tensor, cap: number): void;
  /** x / 2 · (1 + erf(x / √2)) in place, f32. */
  gelu(x: Tensor): void;
  /**
   * Norms (where `options` says so) and rotates (rotate-half convention; not with a null table) the q and k parts of
   * qkv, f32 [T, (numHeads + 2 · numKvHeads) · headDim], in place, and writes k and v to the cache slots of the batch.
   */
  ropeAndCache(
    qkv: Tensor,
    rope: RopeTable | null,
    cache: KvCache,
    layer: number,
    options: RopeOptions,
  ): void;
  /** Attention of the batch's queries over the cache → [T, numHeads · headDim] in form `as`. */
  pagedAttention(
    qkv: Tensor,
    cache: KvCache,
    layer: number,
    options: AttentionOptions,
    as: TensorForm,
  ): Tensor;
  /** Copies rows of any form: entries [first, first + count) of `indices`; first is 0 by default. */
  gatherRows(x: Tensor, indices: Int32Array, count: number, first?: number): Tensor;
  /** Fills `routing` from f32 logits [T, numExperts]: the highest topK of each row, ties to the lowest expert. */
  moeRoute(logits: Tensor, routing: MoeRouting): void;
  /** Adds in place: row rows[first + i] of x += weights[first + i] · (row i of y), both f32. Rows ascend. */
  addRows(x: Tensor, y: Tensor, target: WeightedRows, count: number, first?: number): void;

  /** Draws one token for each row of f32 logits. */
  sample(logits: Tensor, batch: SamplingBatch, out: SamplingOutput): void;
  /**
   * Log-likelihoods of `targets[i]` under row i of head(hidden), in slabs of at most 64 rows, so that
   * [tokens, vocabulary] never exists. `hidden` is in `head.inputForm`. `softCap` caps the logits; 0, the default,
   * for none.
   */
  scoreTargets(
    hidden: Tensor,
    head: LinearWeight,
    targets: Int32Array,
    out: ScoreOutput,
    softCap?: number,
  ): void;
  /**
   * How far the distributions of f32 logits B [count, vocabulary] are from those of logits A, of the same shape, in f64:
   * with p = softmax(a), KL = Σ p·(a − b) − (log Σ exp a − log Σ exp b). Token `targets[i]` follows row i, [count] each.
   */
  diverge(logitsB: Tensor, logitsA: Float32Array, targets: Int32Array, out: RowDivergences): void;
  /**
   * Ends the life of every tensor made after `x`, so that a model of many layers needs the memory of one: a decoder
   * layer that works in place on `x` calls it at its end.
   */
  releaseAfter(x: Tensor): void;
  /** Copies an f32 tensor out: [rows · cols]. */
  read(x: Tensor, into: Float32Array): void;

  /** Bytes in use. */
  memory(): OpsMemory;
  close(): void;
}

/** Bytes in use; `kvHost` is that of all `createKvHost`. */
export interface OpsMemory {
  readonly weights: number;
  readonly kvCache: number;
  readonly kvHost: number;
  readonly arena: number;
}

export interface OpsOptions {
  /** Kernel threads, the calling one included; 0 = physical cores within affinity and cgroup quota. */
  readonly numThreads: number;
  /** Default `f32`. */
  readonly attentionDtype?: AttentionDtype;
}
