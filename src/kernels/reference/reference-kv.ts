import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../../base/half.ts";
import { invariant } from "../../base/invariant.ts";
import { type KvCache, type KvCacheShape, type KvHost, type KvMoves, kvMoveKinds } from "../ops.ts";

/** K or V of one layer, [block, kvHead, token, headDim]. */
type KvSlab = Float32Array | Uint16Array;

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

const bytesPerElement: Readonly<Record<KvCacheShape["dtype"], number>> = { f32: 4, f16: 2, bf16: 2 };

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
  const size = shape.numBlocks * shape.blockSize * shape.numKvHeads * shape.headDim;
  const allocate = (): KvSlab => (shape.dtype === "f32" ? new Float32Array(size) : new Uint16Array(size));
  const slabs = (): KvSlab[] => Array.from({ length: shape.numLayers }, allocate);
  const sizeBytes = 2 * shape.numLayers * size * bytesPerElement[shape.dtype];
  return { keys: slabs(), values: slabs(), sizeBytes };
}

/** First element of a token's head in a slab. */
export function headOffset(cache: KvCacheShape, slot: number, kvHead: number): number {
  const { blockSize, numKvHeads, headDim } = cache;
  const block = Math.floor(slot / blockSize);
  return ((block * numKvHeads + kvHead) * blockSize + (slot % blockSize)) * headDim;
}

/** Writes the first headDim values at `at`, in the cache's dtype. */
export function storeHead(
  source: Float32Array,
  slab: KvSlab,
  at: number,
  { headDim, dtype }: KvCacheShape,
): void {
  if (dtype === "f32") slab.set(source.subarray(0, headDim), at);
  else if (dtype === "f16") for (let i = 0; i < headDim; i += 1) slab[at + i] = f32ToF16(source[i]!);
  else for (let i = 0; i < headDim; i += 1) slab[at + i] = f32ToBf16(source[i]!);
}

/** Reads headDim values from `at`. */
export function loadHead(
  slab: KvSlab,
  at: number,
  into: Float64Array,
  { headDim, dtype }: KvCacheShape,
): void {
  if (dtype === "f32") for (let i = 0; i < headDim; i += 1) into[i] = slab[at + i]!;
  else if (dtype === "f16") for (let i = 0; i < headDim; i += 1) into[i] = f16ToF32(slab[at + i]!);
  else for (let i = 0; i < headDim; i += 1) into[i] = bf16ToF32(slab[at + i]!);
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

function copyTokens(
  { numKvHeads, blockSize, headDim }: KvCacheShape,
  from: SlabBlock,
  to: SlabBlock,
  numTokens: number,
): void {
  const width = blockSize * headDim;
  for (let head = 0; head < numKvHeads; head += 1) {
    const at = (from.block * numKvHeads + head) * width;
    to.slab.set(from.slab.subarray(at, at + numTokens * headDim), (to.block * numKvHeads + head) * width);
  }
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
    const bytes = new Uint8Array(slab.buffer);
    const width = cache.headDim * slab.BYTES_PER_ELEMENT;
    for (let head = 0; head < cache.numKvHeads; head += 1) {
      const a = (blockA * cache.numKvHeads + head) * cache.blockSize * width;
      const b = (blockB * cache.numKvHeads + head) * cache.blockSize * width;
      for (let i = 0; i < numTokens * width; i += 1) if (bytes[a + i] !== bytes[b + i]) return false;
    }
    return true;
  });
}
