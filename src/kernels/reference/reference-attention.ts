import { bf16ToF32, f32ToBf16 } from "../../base/half.ts";
import { invariant } from "../../base/invariant.ts";
import type {
  AttentionDtype,
  AttentionOptions,
  RaggedBatch,
  RopeOptions,
  RopeTable,
  VectorWeight,
} from "../ops.ts";
import { rmsNormRow } from "./reference-activations.ts";
import { headNumber, loadHead, type ReferenceKvCache, storeHead } from "./reference-kv.ts";
import { dot } from "./reference-linear.ts";
import type { ReferenceTensor } from "./tensor-arena.ts";

export interface ReferenceRopeTable extends RopeTable {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

export interface ReferenceVector extends VectorWeight {
  readonly values: Float32Array;
}

/** Norms and rotates q and k in place and writes k and v to the slots of the batch; each product and sum rounded to f32. */
export function rotateAndStore(
  qkv: ReferenceTensor,
  rope: ReferenceRopeTable | null,
  target: { readonly cache: ReferenceKvCache; readonly layer: number },
  batch: RaggedBatch,
  options: RopeOptions,
): void {
  const { numHeads, numKvHeads, headDim } = options;
  const { cache, layer } = target;
  const keys = cache.keys[layer];
  const values = cache.values[layer];
  invariant(keys !== undefined && values !== undefined, `layer ${layer} is not in the KV cache`);
  const numSlots = cache.numBlocks * cache.blockSize;
  for (let token = 0; token < batch.numTokens; token += 1) {
    const position = batch.positions[token]!;
    const slot = batch.slots[token]!;
    invariant(
      position >= 0 && (rope === null || position < rope.maxPositions),
      `position ${position} is outside the rope table`,
    );
    invariant(slot >= 0 && slot < numSlots, `slot ${slot} is outside the KV cache`);
    const start = token * qkv.cols;
    const keyStart = start + numHeads * headDim;
    const valueStart = keyStart + numKvHeads * headDim;
    if (options.qkNorm !== undefined) {
      const { q, k, eps } = options.qkNorm;
      normRuns(qkv.values.subarray(start, keyStart), q, eps);
      normRuns(qkv.values.subarray(keyStart, valueStart), k, eps);
    }
    for (let head = 0; rope !== null && head < numHeads + numKvHeads; head += 1) {
      rotate(qkv.values, start + head * headDim, rope, position);
    }
    for (let head = 0; head < numKvHeads; head += 1) {
      const at = headNumber(cache, slot, head);
      storeHead(qkv.values.subarray(keyStart + head * headDim), keys, at, cache);
      storeHead(qkv.values.subarray(valueStart + head * headDim), values, at, cache);
    }
  }
}

function normRuns(values: Float32Array, norm: VectorWeight, eps: number): void {
  invariant(values.length % norm.length === 0, "the norms of q and k divide their columns");
  for (let at = 0; at < values.length; at += norm.length) {
    const run = values.subarray(at, at + norm.length);
    rmsNormRow(run, (norm as ReferenceVector).values, eps, run);
  }
}

function rotate(values: Float32Array, start: number, rope: ReferenceRopeTable, position: number): void {
  const half = rope.rotaryDim / 2;
  for (let i = 0; i < half; i += 1) {
    const cos = rope.cos[position * half + i]!;
    const sin = rope.sin[position * half + i]!;
    const first = values[start + i]!;
    const second = values[start + half + i]!;
    values[start + i] = Math.fround(first * cos) - Math.fround(second * sin);
    values[start + half + i] = Math.fround(second * cos) + Math.fround(first * sin);
  }
}

/** One sequence's part of a batch and one KV head of its context. */
interface HeadContext {
  /** As the cache has them: numbers, or codes and what each token's are multiplied by. */
  readonly keys: Float64Array;
  readonly values: Float64Array;
  readonly keyScales: Float64Array;
  readonly valueScales: Float64Array;
  /** [headDim] */
  readonly query: Float64Array;
  /** [context length] */
  readonly scores: Float64Array;
}

/** `AttentionOptions`, and what operands are rounded to before products. */
export interface ReferenceAttentionOptions extends AttentionOptions {
  readonly dtype: AttentionDtype;
}

function roundToBf16(values: Float64Array): void {
  for (let i = 0; i < values.length; i += 1) values[i] = bf16ToF32(f32ToBf16(values[i]!));
}

/** Causal attention, scores and sums in f64: out f32 [numTokens, numHeads · headDim]. */
export function attend(
  qkv: ReferenceTensor,
  source: { readonly cache: ReferenceKvCache; readonly layer: number },
  batch: RaggedBatch,
  options: ReferenceAttentionOptions,
  out: Float32Array,
): void {
  const { headDim, numKvHeads, numHeads, scale, dtype } = options;
  const groupHeads = numHeads / numKvHeads;
  for (let seq = 0; seq < batch.numSeqs; seq += 1) {
    const length = batch.contextLengths[seq]!;
    const context: HeadContext = {
      keys: new Float64Array(length * headDim),
      values: new Float64Array(length * headDim),
      keyScales: new Float64Array(length),
      valueScales: new Float64Array(length),
      query: new Float64Array(headDim),
      scores: new Float64Array(length),
    };
    for (let kvHead = 0; kvHead < numKvHeads; kvHead += 1) {
      gatherContext(source, batch, seq, kvHead, context);
      if (dtype === "bf16") {
        roundToBf16(context.keys);
        roundToBf16(context.values);
      }
      for (let token = batch.queryStarts[seq]!; token < batch.queryStarts[seq + 1]!; token += 1) {
        for (let head = kvHead * groupHeads; head < (kvHead + 1) * groupHeads; head += 1) {
          const from = token * qkv.cols + head * headDim;
          for (let i = 0; i < headDim; i += 1) context.query[i] = Math.fround(qkv.values[from + i]! * scale);
          if (dtype === "bf16") roundToBf16(context.query);
          attendHead(context, batch.positions[token]!, options, out, (token * numHeads + head) * headDim);
        }
      }
    }
  }
}

function gatherContext(
  { cache, layer }: { readonly cache: ReferenceKvCache; readonly layer: number },
  batch: RaggedBatch,
  seq: number,
  kvHead: number,
  context: HeadContext,
): void {
  const { blockSize, headDim } = cache;
  for (let position = 0; position < context.scores.length; position += 1) {
    const entry = seq * batch.blockTableStride + Math.floor(position / blockSize);
    const at = headNumber(cache, batch.blockTables[entry]! * blockSize + (position % blockSize), kvHead);
    const key = context.keys.subarray(position * headDim);
    const value = context.values.subarray(position * headDim);
    context.keyScales[position] = loadHead(cache.keys[layer]!, at, key, cache);
    context.valueScales[position] = loadHead(cache.values[layer]!, at, value, cache);
  }
}

function attendHead(
  { keys, values, keyScales, valueScales, query, scores }: HeadContext,
  position: number,
  { headDim, slidingWindow = 0, softCap = 0, isCausal = true, dtype }: ReferenceAttentionOptions,
  out: Float32Array,
  at: number,
): void {
  invariant(position < scores.length, "a query lies beyond its sequence's context length");
  invariant(isCausal || slidingWindow === 0, "attention to a whole sequence has no window");
  const first = slidingWindow > 0 ? Math.max(0, position + 1 - slidingWindow) : 0;
  const last = isCausal ? position : scores.length - 1;
  let max = -Infinity;
  for (let key = first; key <= last; key += 1) {
    const score = dot(query, 0, keys, key * headDim, headDim) * keyScales[key]!;
    scores[key] = softCap > 0 ? softCap * Math.tanh(score / softCap) : score;
    max = Math.max(max, scores[key]!);
  }
  let sum = 0;
  query.fill(0);
  for (let key = first; key <= last; key += 1) {
    const weight = Math.exp(scores[key]! - max);
    sum += weight;
    const scaled = weight * valueScales[key]!;
    const factor = dtype === "bf16" ? bf16ToF32(f32ToBf16(scaled)) : scaled;
    for (let i = 0; i < headDim; i += 1) query[i]! += factor * values[key * headDim + i]!;
  }
  for (let i = 0; i < headDim; i += 1) out[at + i] = query[i]! / sum;
}
