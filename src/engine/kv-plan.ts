import { MillraceError } from "../base/errors.ts";
import { formatBytes, formatCount } from "../base/units.ts";
import type { KvCacheShape, KvDtype } from "../kernels/ops.ts";

/** Sizes of one token's K and V. */
export type KvTokenShape = Pick<KvCacheShape, "numLayers" | "numKvHeads" | "headDim">;

export interface KvPlanInput {
  /** Bytes that the KV cache may take, the draft's included. */
  readonly availableBytes: number;
  /** Take all of them, as far as sequences can use them, instead of the default share. */
  readonly isFilling: boolean;
  readonly shape: KvTokenShape;
  /** The draft model's, which holds as many blocks of the same type; null without one. */
  readonly draftShape: KvTokenShape | null;
  readonly dtype: KvDtype;
  readonly blockSize: number;
  /** Context length that the operator asked for; `auto`: the longest that fits; null: what the default share holds. */
  readonly askedMaxModelLen: number | "auto" | null;
  /** Longest context of the model itself. */
  readonly modelMaxLen: number;
  readonly maxNumSeqs: number;
  /** Size that the operator asked for, or null. */
  readonly kvCacheMemoryBytes: number | null;
  /** Exact number of blocks instead of a size, or null. */
  readonly numKvBlocks: number | null;
}

export interface KvPlan {
  readonly numBlocks: number;
  readonly sizeBytes: number;
  /** What the draft model's cache takes beside it. */
  readonly draftBytes: number;
  /** Longest context: one sequence of it always fits into the cache. */
  readonly maxModelLen: number;
  /** What the cache holds: "96 blocks of 32 tokens in f16, …". */
  readonly contents: string;
}

/** Without a size asked for: at most a quarter of what is left, and never more than this. */
const defaultShare = 0.25;
const defaultCapBytes = 4 * 1024 ** 3;

/**
 * Sizes the KV cache: as asked, or enough for `maxNumSeqs` longest contexts within a quarter of the memory that is left
 * and 4 GiB. A context that nobody asked for is shortened to what fits, and the caller says so; one that was asked for is
 * refused (`out_of_memory`) with the numbers and the flag that would make it fit.
 */
export function planKvCache(input: KvPlanInput): KvPlan {
  const ownBytes = kvBlockBytes(input.shape, input.dtype, input.blockSize);
  const draftBytes =
    input.draftShape === null ? 0 : kvBlockBytes(input.draftShape, input.dtype, input.blockSize);
  const blockBytes = ownBytes + draftBytes;
  const asked = typeof input.askedMaxModelLen === "number" ? input.askedMaxModelLen : null;
  const wantedLen = asked ?? input.modelMaxLen;
  const numBlocks = chooseNumBlocks(input, blockBytes, Math.ceil(wantedLen / input.blockSize));
  const roomTokens = numBlocks * input.blockSize;
  if (numBlocks === 0 || (asked !== null && roomTokens < asked)) {
    throw contextDoesNotFit(input, blockBytes, asked ?? input.blockSize);
  }
  const maxModelLen = Math.min(wantedLen, roomTokens);
  const contents =
    `${formatCount(numBlocks)} blocks of ${input.blockSize} tokens in ${input.dtype}: ` +
    `${formatCount(roomTokens)} tokens, ${(roomTokens / maxModelLen).toFixed(1)} contexts of ` +
    `${formatCount(maxModelLen)} at once`;
  return {
    numBlocks,
    sizeBytes: numBlocks * ownBytes,
    draftBytes: numBlocks * draftBytes,
    maxModelLen,
    contents,
  };
}

function chooseNumBlocks(input: KvPlanInput, blockBytes: number, blocksPerContext: number): number {
  const { availableBytes, kvCacheMemoryBytes, numKvBlocks, maxNumSeqs } = input;
  if (numKvBlocks !== null) return numKvBlocks;
  if (kvCacheMemoryBytes !== null) {
    if (kvCacheMemoryBytes > availableBytes) {
      throw new MillraceError(
        "out_of_memory",
        `--kv-cache-memory-bytes asks for ${formatBytes(kvCacheMemoryBytes)}; ${formatBytes(availableBytes)} of memory ` +
          `are left for the KV cache. Give ${formatBytes(availableBytes)} or less, or free memory.`,
        { param: "--kv-cache-memory-bytes" },
      );
    }
    return Math.floor(kvCacheMemoryBytes / blockBytes);
  }
  const most = Math.floor(availableBytes / blockBytes);
  const budget = input.isFilling ? availableBytes : Math.min(availableBytes * defaultShare, defaultCapBytes);
  const enough = Math.min(Math.floor(budget / blockBytes), blocksPerContext * maxNumSeqs);
  // An asked context may take more than the default share, as long as it is there.
  if (input.askedMaxModelLen === null) return enough;
  return Math.max(enough, Math.min(blocksPerContext, most));
}

function contextDoesNotFit(input: KvPlanInput, blockBytes: number, wantedLen: number): MillraceError {
  const { blockSize, availableBytes, kvCacheMemoryBytes, numKvBlocks } = input;
  const roomBytes = numKvBlocks === null ? (kvCacheMemoryBytes ?? availableBytes) : numKvBlocks * blockBytes;
  const neededBytes = Math.ceil(wantedLen / blockSize) * blockBytes;
  const there =
    kvCacheMemoryBytes === null
      ? `${formatBytes(roomBytes)} of memory are left for it`
      : `--kv-cache-memory-bytes gives ${formatBytes(kvCacheMemoryBytes)}`;
  const ofDraft = input.draftShape === null ? "" : ", the draft's included";
  const numBlocks = Math.floor(roomBytes / blockBytes);
  const more =
    kvCacheMemoryBytes === null
      ? `${input.isFilling ? "give a larger --memory-utilization" : "free memory"}${input.dtype === "int8" ? "" : ", or take fewer bytes with --kv-cache-dtype int8"}`
      : "give a larger --kv-cache-memory-bytes";
  const remedy =
    numBlocks === 0
      ? `${more[0]!.toUpperCase()}${more.slice(1)}.`
      : `Start with --max-model-len ${numBlocks * blockSize} or less, or ${more}.`;
  return new MillraceError(
    "out_of_memory",
    `A context of ${formatCount(wantedLen)} tokens needs ${formatBytes(neededBytes)} of KV cache${ofDraft}; ${there}. ${remedy}`,
    { param: "--max-model-len" },
  );
}

/** Bytes of one K or V element; `int8` adds a scale of 4 bytes to each token and head. */
const elementBytes: Readonly<Record<KvDtype, number>> = { f32: 4, f16: 2, bf16: 2, int8: 1 };

/**
 * Bytes of one block: K and V of all layers. Kernels hold K by runs of tokens and V by runs of dimensions, both
 * rounded up to 16, and give K and V the same room.
 */
export function kvBlockBytes(shape: KvTokenShape, dtype: KvDtype, blockSize: number): number {
  const { numLayers, numKvHeads, headDim } = shape;
  const roundUp = (count: number): number => Math.ceil(count / 16) * 16;
  const elements = Math.max(headDim * roundUp(blockSize), blockSize * roundUp(headDim));
  const scaleBytes = dtype === "int8" ? 4 * roundUp(blockSize) : 0;
  return 2 * numLayers * numKvHeads * (elements * elementBytes[dtype] + scaleBytes);
}
