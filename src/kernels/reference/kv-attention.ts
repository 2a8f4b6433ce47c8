import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../../base/half.ts";
import type { AttentionOptions, AttentionShape, KvCacheShape, KvDtype, RaggedBatch } from "../ops.ts";

/** K and V of all layers, [layer, block, kvHead, token, headDim], each value rounded to the cache's dtype. */
export interface ReferenceKvCache {
  readonly shape: KvCacheShape;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

export function createReferenceKvCache(shape: KvCacheShape): ReferenceKvCache {
  const length = shape.numLayers * shape.numBlocks * shape.numKvHeads * shape.blockSize * shape.headDim;
  return { shape, k: new Float32Array(length), v: new Float32Array(length) };
}

const rounders: Readonly<Record<KvDtype, (value: number) => number>> = {
  f32: Math.fround,
  f16: (value) => f16ToF32(f32ToF16(value)),
  bf16: (value) => bf16ToF32(f32ToBf16(value)),
};

/** Start of a token's K (and V) of one head. */
function kvOffset(shape: KvCacheShape, layer: number, slot: number, kvHead: number): number {
  const block = Math.floor(slot / shape.blockSize);
  const token = slot % shape.blockSize;
  const row = ((layer * shape.numBlocks + block) * shape.numKvHeads + kvHead) * shape.blockSize + token;
  return row * shape.headDim;
}

export interface Rotation {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly rotaryDim: number;
}

/** Rotates q and k of f32 qkv in place (rotate-half: pairs are i and i + rotaryDim / 2) and stores k and v. */
export function rotateAndStore(
  qkv: Float32Array,
  rotation: Rotation,
  target: { readonly cache: ReferenceKvCache; readonly layer: number; readonly batch: RaggedBatch },
  dims: AttentionShape,
): void {
  const { cache, layer, batch } = target;
  const { numHeads, numKvHeads, headDim } = dims;
  const width = (numHeads + 2 * numKvHeads) * headDim;
  const round = rounders[cache.shape.dtype];
  for (let token = 0; token < batch.numTokens; token += 1) {
    const row = token * width;
    for (let head = 0; head < numHeads + numKvHeads; head += 1) {
      rotateHead(qkv, row + head * headDim, rotation, batch.positions[token]!);
    }
    for (let kvHead = 0; kvHead < numKvHeads; kvHead += 1) {
      const to = kvOffset(cache.shape, layer, batch.slots[token]!, kvHead);
      const from = row + (numHeads + kvHead) * headDim;
      for (let dim = 0; dim < headDim; dim += 1) {
        cache.k[to + dim] = round(qkv[from + dim]!);
        cache.v[to + dim] = round(qkv[from + numKvHeads * headDim + dim]!);
      }
    }
  }
}

function rotateHead(qkv: Float32Array, at: number, rotation: Rotation, position: number): void {
  const half = rotation.rotaryDim / 2;
  for (let pair = 0; pair < half; pair += 1) {
    const cos = rotation.cos[position * half + pair]!;
    const sin = rotation.sin[position * half + pair]!;
    const first = qkv[at + pair]!;
    const second = qkv[at + half + pair]!;
    qkv[at + pair] = first * cos - second * sin;
    qkv[at + half + pair] = second * cos + first * sin;
  }
}

/** Softmax attention of the batch over the cache, computed plainly in f64 → f32 [numTokens, numHeads · headDim]. */
export function attendPlainly(
  qkv: Float32Array,
  source: { readonly cache: ReferenceKvCache; readonly layer: number; readonly batch: RaggedBatch },
  options: AttentionOptions,
): Float32Array {
  const { batch } = source;
  const { numHeads, headDim } = options;
  const out = new Float32Array(batch.numTokens * numHeads * headDim);
  for (let sequence = 0; sequence < batch.numSeqs; sequence += 1) {
    for (let token = batch.queryStarts[sequence]!; token < batch.queryStarts[sequence + 1]!; token += 1) {
      for (let head = 0; head < numHeads; head += 1) attendHead(qkv, source, options, { sequence, token, head }, out);
    }
  }
  return out;
}

function attendHead(
  qkv: Float32Array,
  source: { readonly cache: ReferenceKvCache; readonly layer: number; readonly batch: RaggedBatch },
  options: AttentionOptions,
  at: { readonly sequence: number; readonly token: number; readonly head: number },
  out: Float32Array,
): void {
  const { cache, layer, batch } = source;
  const { numHeads, numKvHeads, headDim, scale, slidingWindow = 0, softCap = 0 } = options;
  const { blockSize } = cache.shape;
  const position = batch.positions[at.token]!;
  const first = slidingWindow > 0 ? Math.max(0, position - slidingWindow + 1) : 0;
  const kvHead = Math.floor(at.head / (numHeads / numKvHeads));
  const query = at.token * (numHeads + 2 * numKvHeads) * headDim + at.head * headDim;
  const offsetOf = (key: number): number => {
    const block = batch.blockTables[at.sequence * batch.blockTableStride + Math.floor(key / blockSize)]!;
    return kvOffset(cache.shape, layer, block * blockSize + (key % blockSize), kvHead);
  };
  const scores = new Float64Array(position - first + 1);
  let max = -Infinity;
  for (let key = first; key <= position; key += 1) {
    const offset = offsetOf(key);
    let dot = 0;
    for (let dim = 0; dim < headDim; dim += 1) dot += qkv[query + dim]! * cache.k[offset + dim]!;
    const score = softCap > 0 ? softCap * Math.tanh((dot * scale) / softCap) : dot * scale;
    scores[key - first] = score;
    max = Math.max(max, score);
  }
  const sums = new Float64Array(headDim);
  let total = 0;
  for (let key = first; key <= position; key += 1) {
    const weight = Math.exp(scores[key - first]! - max);
    const offset = offsetOf(key);
    total += weight;
    for (let dim = 0; dim < headDim; dim += 1) sums[dim]! += weight * cache.v[offset + dim]!;
  }
  const to = (at.token * numHeads + at.head) * headDim;
  for (let dim = 0; dim < headDim; dim += 1) out[to + dim] = sums[dim]! / total;
}
