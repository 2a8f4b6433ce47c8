import { MillraceError } from "../base/errors.ts";
import { formatBytes, formatCount } from "../base/units.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { KvCacheShape, KvDtype } from "../kernels/ops.ts";
import type { PrecisionOptions } from "../model/causal-model.ts";

export interface KvPlanInput {
  /** Bytes that may still be taken. */
  readonly availableBytes: number;
  readonly shape: Pick<KvCacheShape, "numLayers" | "numKvHeads" | "headDim">;
  readonly dtype: KvDtype;
  readonly blockSize: number;
  /** Context length that the operator asked for, or null. */
  readonly askedMaxModelLen: number | null;
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
  /** Longest context: one sequence of it always fits into the cache. */
  readonly maxModelLen: number;
  /** Line to show at start. */
  readonly note: string;
}

/** Without a size asked for: at most a quarter of what is free, and never more than this. */
const defaultShare = 0.25;
const defaultCapBytes = 4 * 1024 ** 3;

/**
 * Sizes the KV cache: as asked, or enough for `maxNumSeqs` longest contexts within a quarter of the free memory and
 * 4 GiB. A context that nobody asked for is shortened to what fits, and the caller says so; one that was asked for is refused
 * (`out_of_memory`) with the numbers and the flag that would make it fit.
 */
export function planKvCache(input: KvPlanInput): KvPlan {
  const blockBytes = kvBlockBytes(input.shape, input.dtype, input.blockSize);
  const wantedLen = input.askedMaxModelLen ?? input.modelMaxLen;
  const numBlocks = chooseNumBlocks(input, blockBytes, Math.ceil(wantedLen / input.blockSize));
  const roomTokens = numBlocks * input.blockSize;
  const isShortened = roomTokens < wantedLen;
  if (numBlocks === 0 || (isShortened && input.askedMaxModelLen !== null))
    throw contextDoesNotFit(input, numBlocks);
  const maxModelLen = Math.min(wantedLen, roomTokens);
  const sizeBytes = numBlocks * blockBytes;
  const note =
    `KV cache: ${formatCount(numBlocks)} blocks of ${input.blockSize} tokens in ${input.dtype}, ` +
    `${formatBytes(sizeBytes)}: ${formatCount(roomTokens)} tokens, ` +
    `${(roomTokens / maxModelLen).toFixed(1)} contexts of ${formatCount(maxModelLen)} at once`;
  return { numBlocks, sizeBytes, maxModelLen, note };
}

function chooseNumBlocks(input: KvPlanInput, blockBytes: number, blocksPerContext: number): number {
  const { availableBytes, kvCacheMemoryBytes, numKvBlocks, maxNumSeqs } = input;
  if (numKvBlocks !== null) return numKvBlocks;
  if (kvCacheMemoryBytes !== null) {
    if (kvCacheMemoryBytes > availableBytes) {
      throw new MillraceError(
        "out_of_memory",
        `--kv-cache-memory-bytes asks for ${formatBytes(kvCacheMemoryBytes)}; ${formatBytes(availableBytes)} of memory ` +
          "are free. Give a smaller size.",
        { param: "--kv-cache-memory-bytes" },
      );
    }
    return Math.floor(kvCacheMemoryBytes / blockBytes);
  }
  const budget = Math.min(availableBytes * defaultShare, defaultCapBytes);
  const enough = Math.min(Math.floor(budget / blockBytes), blocksPerContext * maxNumSeqs);
  // An asked context may take more than the default share, as long as it is there.
  const canHoldAsked = input.askedMaxModelLen !== null && blocksPerContext * blockBytes <= availableBytes;
  return canHoldAsked ? Math.max(enough, blocksPerContext) : enough;
}

function contextDoesNotFit(input: KvPlanInput, numBlocks: number): MillraceError {
  const { askedMaxModelLen, blockSize, availableBytes, kvCacheMemoryBytes } = input;
  const wantedLen = askedMaxModelLen ?? blockSize;
  const neededBytes = Math.ceil(wantedLen / blockSize) * kvBlockBytes(input.shape, input.dtype, blockSize);
  const there =
    kvCacheMemoryBytes === null
      ? `${formatBytes(availableBytes)} of memory are free`
      : `--kv-cache-memory-bytes gives ${formatBytes(kvCacheMemoryBytes)}`;
  const remedy =
    numBlocks === 0
      ? "Free memory, or give a larger --kv-cache-memory-bytes."
      : `Start with --max-model-len ${numBlocks * blockSize} or less, or with a larger --kv-cache-memory-bytes.`;
  return new MillraceError(
    "out_of_memory",
    `A context of ${formatCount(wantedLen)} tokens needs ${formatBytes(neededBytes)} of KV cache; ${there}. ${remedy}`,
    { param: "--max-model-len" },
  );
}

/** Bytes of one block: K and V of all layers. */
export function kvBlockBytes(
  shape: Pick<KvCacheShape, "numLayers" | "numKvHeads" | "headDim">,
  dtype: KvDtype,
  blockSize: number,
): number {
  return 2 * shape.numLayers * shape.numKvHeads * shape.headDim * blockSize * (dtype === "f32" ? 4 : 2);
}

/** Bytes that the packed weights will take, from headers alone: the file's own, or all parameters in `--dtype`. */
export function estimateWeightBytes(
  config: ModelConfig,
  fileBytes: number,
  dtype: PrecisionOptions["dtype"],
): number {
  if (dtype === "auto") return fileBytes;
  const { hiddenSize, numHeads, numKvHeads, headDim } = config;
  const attention = 2 * hiddenSize * headDim * (numHeads + numKvHeads);
  const perLayer = attention + 3 * hiddenSize * config.intermediateSize;
  const embeddings = config.vocabSize * hiddenSize * (config.tieWordEmbeddings ? 1 : 2);
  return (embeddings + config.numLayers * perLayer) * (dtype === "float32" ? 4 : 2);
}

/** Refuses a load (`out_of_memory`) whose weights alone would not fit. */
export function checkWeightsFit(
  weightBytes: number,
  availableBytes: number,
  dtype: PrecisionOptions["dtype"],
): void {
  if (weightBytes <= availableBytes) return;
  const remedy =
    dtype === "auto"
      ? "Free memory, or take a model quantised to fewer bits (`millrace quantize`)."
      : "Free memory, or start with --dtype auto, which keeps the file's own types.";
  throw new MillraceError(
    "out_of_memory",
    `The weights need ${formatBytes(weightBytes)}; ${formatBytes(availableBytes)} of memory are free. ${remedy}`,
    { param: "--dtype" },
  );
}
