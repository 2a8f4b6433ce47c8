import { MillraceError } from "../base/errors.ts";
import { formatCount } from "../base/units.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { freeMemoryBytes } from "../kernels/free-memory.ts";
import type { KvDtype } from "../kernels/ops.ts";
import type { EngineOptions } from "./engine-options.ts";
import type { KvPlan, KvTokenShape } from "./kv-plan.ts";
import {
  type DraftSizes,
  estimateActivationBytes,
  estimateWeightBytes,
  type MemoryPlan,
  planMemory,
} from "./memory-plan.ts";

export const defaultBlockSize = 32;

/** A plan made from headers, and the free memory that it was made with. */
export interface EnginePlan extends MemoryPlan {
  readonly freeBytes: number;
}

/**
 * What an engine will take, from the headers of its files alone: nothing is loaded and nothing allocated. `lines` are
 * for printing before `loadEngine`. The draft model is the one that `openDraft` gives.
 *
 * Errors: `invalid_option` and `out_of_memory`, with numbers and the flag that would make it fit.
 */
export function planEngine(
  options: EngineOptions,
  checkpoint: Checkpoint,
  draft: Checkpoint | null,
  freeBytes: number = freeMemoryBytes(),
): EnginePlan {
  const { config } = checkpoint;
  if (typeof options.maxModelLen === "number" && options.maxModelLen > config.maxPositionEmbeddings) {
    throw new MillraceError(
      "invalid_option",
      `--max-model-len is ${formatCount(options.maxModelLen)}; ${options.modelPath} was made for at most ` +
        `${formatCount(config.maxPositionEmbeddings)} positions. Give that or less.`,
      { param: "--max-model-len" },
    );
  }
  const isExact = options.activations === "f32" || options.dtype === "float32";
  const plan = planLoaded(options, checkpoint, {
    freeBytes,
    weightBytes: estimateWeightBytes(config, checkpoint.memoryBytes, options.dtype),
    shape: config,
    dtype: kvDtypeOf(options, isExact),
    modelMaxLen: config.maxPositionEmbeddings,
    draft: draftSizes(options, draft),
  });
  return { ...plan, freeBytes };
}

/** What is known of a model once it is loaded. */
export interface LoadedSizes {
  /** What was free before anything was taken. */
  readonly freeBytes: number;
  readonly weightBytes: number;
  readonly shape: KvTokenShape;
  readonly dtype: KvDtype;
  /** Longest context that there are rotation tables for. */
  readonly modelMaxLen: number;
  readonly draft: DraftSizes | null;
}

/** The plan again, with sizes that are no estimates any more. */
export function planLoaded(options: EngineOptions, checkpoint: Checkpoint, sizes: LoadedSizes): MemoryPlan {
  const numDrafts = options.speculation?.numTokens ?? 0;
  const activationBytes = estimateActivationBytes(checkpoint.config, { ...options, numDrafts });
  return planMemory({
    ...sizes,
    utilization: options.memoryUtilization ?? null,
    activationBytes: Math.max(activationBytes, sizes.draft?.activationBytes ?? 0),
    maxNumBatchedTokens: options.maxNumBatchedTokens,
    swapSpaceBytes: options.swapSpaceBytes ?? 0,
    weightDtype: options.dtype,
    blockSize: options.blockSize ?? defaultBlockSize,
    askedMaxModelLen: options.maxModelLen,
    maxNumSeqs: options.maxNumSeqs,
    kvCacheMemoryBytes: options.kvCacheMemoryBytes,
    numKvBlocks: options.numKvBlocks ?? null,
  });
}

/** What a draft model will take. Its step comes after the model's own, in the same memory. */
export function draftSizes(options: EngineOptions, draft: Checkpoint | null): DraftSizes | null {
  if (draft === null) return null;
  const { config, memoryBytes } = draft;
  return {
    shape: config,
    weightBytes: estimateWeightBytes(config, memoryBytes, options.dtype),
    activationBytes: estimateActivationBytes(config, { ...options, numDrafts: 0 }),
  };
}

export function kvDtypeOf(options: EngineOptions, isExact: boolean): KvDtype {
  if (options.kvCacheDtype !== "auto") return options.kvCacheDtype;
  return isExact ? "f32" : "f16";
}

/** Says aloud which context was chosen where nobody named one. */
export function contextNotes(options: EngineOptions, checkpoint: Checkpoint, plan: KvPlan): string[] {
  const modelMaxLen = checkpoint.config.maxPositionEmbeddings;
  const isWhole = plan.maxModelLen === modelMaxLen;
  if (options.maxModelLen === "auto") {
    const found = `--max-model-len auto: ${formatCount(plan.maxModelLen)} tokens`;
    return [`${found}, ${isWhole ? "the model's own" : `the most that fits of ${formatCount(modelMaxLen)}`}`];
  }
  if (options.maxModelLen !== null || isWhole) return [];
  return [
    `context shortened from the model's ${formatCount(modelMaxLen)} to ${formatCount(plan.maxModelLen)} tokens to fit ` +
      "the KV cache; give --max-model-len auto or a larger --kv-cache-memory-bytes for more",
  ];
}
