import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../../base/half.ts";
import { invariant } from "../../base/invariant.ts";
import { type KvCache, type KvCacheShape, type KvHost, type KvMoves, kvMoveKinds } from "../ops.ts";
import { quantizeRun } from "./activation-forms.ts";

/** K or V of one layer. */
interface KvSlab {
  /** [block, kvHead, token, headDim] */
  readonly elements: Float32Array | Uint16Array | Int8Array;
  /** int8: [block, kvHead, token]; else empty. */
  readonly scales: Float32Array;
}

interface KvSlabs {
  /** [layer] */
  readonly keys: readonly KvSlab[];
  readonly values: readonly KvSlab[];
}

export interface ReferenceKvCache extends KvCache, KvSlabs {}

/** Host blocks lie like those of the cache they belong to. */
export interface ReferenceKvHost extends KvHost, KvSlabs {
  readonly cache: ReferenceKvCache;
}

export function createReferenceKvCache(id: number, shape: KvCacheShape): ReferenceKvCache {
  return { ...shape, id, ...createSlabs(shape) };
}

export function createReferenceKvHost(
  id: number,
  cache: ReferenceKvCache,
  numBlocks: number,
): ReferenceKvHost {
  invariant(Number.isInteger(numBlocks) && numBlocks > 0, `a KV host has ${numBlocks} blocks`);
  return { id, numBlocks, cache, ...createSlabs({ ...cache, numBlocks }) };
}

function createSlabs(shape: KvCacheShape): KvSlabs & { readonly sizeBytes: number } {
  const slabs = (): KvSlab[] => Array.from({ length: shape.numLayers }, () => createSlab(shape));
  const [keys, values] = [slabs(), slabs()];
  const sizeBytes = [...keys, ...values].reduce(
    (sum, { elements, scales }) => sum + elements.byteLength + scales.byteLength,
    0,
  );
  return { keys, values, sizeBytes };
}

function createSlab({ numBlocks, blockSize, numKvHeads, headDim, dtype }: KvCacheShape): KvSlab {
  const numHeads = numBlocks * blockSize * numKvHeads;
  const size = numHeads * headDim;
  const scales = new Float32Array(dtype === "int8" ? numHeads : 0);
  if (dtype === "int8") return { elements: new Int8Array(size), scales };
  return { elements: dtype === "f32" ? new Float32Array(size) : new Uint16Array(size), scales };
}

/** Number of a token's head in a slab, in the order in which they lie. */
export function headNumber(cache: KvCacheShape, slot: number, kvHead: number): number {
  const { blockSize, numKvHeads } = cache;
  const block = Math.floor(slot / blockSize);
  return (block * numKvHeads + kvHead) * blockSize + (slot % blockSize);
}

/** Writes the first headDim values as head `head` of a slab, in the cache's dtype. */
export function storeHead(
  source: Float32Array,
  { elements, scales }: KvSlab,
  head: number,
  { headDim, dtype }: KvCacheShape,
): void {
  const at = head * headDim;
  const values = source.subarray(0, headDim);
  if (dtype === "f32") elements.set(values, at);
  else if (dtype === "f16") for (let i = 0; i < headDim; i += 1) elements[at + i] = f32ToF16(values[i]!);
  else if (dtype === "bf16") for (let i = 0; i < headDim; i += 1) elements[at + i] = f32ToBf16(values[i]!);
  else if (values.every(Number.isFinite)) scales[head] = quantizeRun(values, elements as Int8Array, at);
  else {
    // A value that is not finite makes the scale NaN, so that it is not hidden.
    scales[head] = NaN;
    elements.fill(0, at, at + headDim);
  }
}

/** Reads the elements of head `head` of a slab; returns what they are to be multiplied by: 1, or the scale of int8 codes. */
export function loadHead(
  { elements, scales }: KvSlab,
  head: number,
  into: Float64Array,
  { headDim, dtype }: KvCacheShape,
): number {
  const at = head * headDim;
  if (dtype === "f16") for (let i = 0; i < headDim; i += 1) into[i] = f16ToF32(elements[at + i]!);
  else if (dtype === "bf16") for (let i = 0; i < headDim; i += 1) into[i] = bf16ToF32(elements[at + i]!);
  else for (let i = 0; i < headDim; i += 1) into[i] = elements[at + i]!;
  return dtype === "int8" ? scales[head]! : 1;
}

/** `Ops.moveKv`. */
export function moveBlocks(cache: ReferenceKvCache, host: ReferenceKvHost | null, moves: KvMoves): void {
  invariant(host === null || host.cache === cache, "a KV host belongs to another cache or backend");
  for (let move = 0; move < moves.count; move += 1) checkMove(cache, host, moves, move);
  for (let move = 0; move < moves.count; move += 1) {
    const kind = moves.kinds[move]!;
    const from = kind === kvMoveKinds.in ? host! : cache;
    const to = kind === kvMoveKinds.out ? host! : cache;
    const source = moves.sources[move]!;
    const target = moves.targets[move]!;
    const numTokens = moves.numTokens[move]!;
    for (let layer = 0; layer < cache.numLayers; layer += 1) {
      for (const part of ["keys", "values"] as const) {
        const read = { slab: from[part][layer]!, block: source };
        const write = { slab: to[part][layer]!, block: target };
        copyTokens(cache, read, write, numTokens);
      }
    }
  }
}

function checkMove(cache: KvCache, host: KvHost | null, moves: KvMoves, move: number): void {
  const kind = moves.kinds[move]!;
  invariant(kind <= kvMoveKinds.in, `a KV move is of kind ${kind}`);
  const numHostBlocks = host?.numBlocks ?? 0;
  const source = moves.sources[move]!;
  const target = moves.targets[move]!;
  const numTokens = moves.numTokens[move]!;
  const numSources = kind === kvMoveKinds.in ? numHostBlocks : cache.numBlocks;
  const numTargets = kind === kvMoveKinds.out ? numHostBlocks : cache.numBlocks;
  invariant(source >= 0 && source < numSources, `a KV move reads a block that is not there: ${source}`);
  invariant(target >= 0 && target < numTargets, `a KV move writes a block that is not there: ${target}`);
  invariant(
    numTokens >= 0 && numTokens <= cache.blockSize,
    `a KV move takes more tokens than a block: ${numTokens}`,
  );
}

interface SlabBlock {
  readonly slab: KvSlab;
  readonly block: number;
}

function copyTokens(shape: KvCacheShape, from: SlabBlock, to: SlabBlock, numTokens: number): void {
  for (let kvHead = 0; kvHead < shape.numKvHeads; kvHead += 1) {
    const read = tokensOf(shape, from, kvHead, numTokens);
    const write = tokensOf(shape, to, kvHead, numTokens);
    write.elements.set(read.elements);
    write.scales.set(read.scales);
  }
}

/** The first tokens of a block's head. */
function tokensOf(
  shape: KvCacheShape,
  { slab, block }: SlabBlock,
  kvHead: number,
  numTokens: number,
): KvSlab {
  const first = headNumber(shape, block * shape.blockSize, kvHead);
  const end = first + numTokens;
  return {
    elements: slab.elements.subarray(first * shape.headDim, end * shape.headDim),
    scales: slab.scales.subarray(first, end),
  };
}

/** `Ops.equalKv`. */
export function equalBlocks(
  cache: ReferenceKvCache,
  blockA: number,
  blockB: number,
  numTokens: number,
): boolean {
  for (const block of [blockA, blockB]) {
    invariant(block >= 0 && block < cache.numBlocks, `a KV block is not there: ${block}`);
  }
  invariant(numTokens >= 0 && numTokens <= cache.blockSize, `a KV block has fewer tokens than ${numTokens}`);
  return [...cache.keys, ...cache.values].every((slab) => {
    for (let kvHead = 0; kvHead < cache.numKvHeads; kvHead += 1) {
      const a = tokensOf(cache, { slab, block: blockA }, kvHead, numTokens);
      const b = tokensOf(cache, { slab, block: blockB }, kvHead, numTokens);
      if (!isSameBytes(a.elements, b.elements) || !isSameBytes(a.scales, b.scales)) return false;
    }
    return true;
  });
}

function isSameBytes(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const bytes = (view: ArrayBufferView): Uint8Array =>
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const other = bytes(b);
  return bytes(a).every((byte, index) => byte === other[index]);
}
