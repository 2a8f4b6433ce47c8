import { MillraceError } from "../base/errors.ts";
import { formatCount } from "../base/units.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import { kvCacheSchemeOf } from "../formats/quantized/kv-cache-scheme.ts";
import { freeMemoryBytes } from "../kernels/free-memory.ts";
import type { KvDtype, RaggedBatch } from "../kernels/ops.ts";
import { type PlannedModel, planModel } from "../model/plan-model.ts";
import type { EngineOptions } from "./engine-options.ts";
import type { KvPlan, KvTokenShape } from "./kv-plan.ts";
import { type DraftSizes, type MemoryPlan, planMemory } from "./memory-plan.ts";

export const defaultBlockSize = 32;

/** A plan made from headers, and what it was made with. */
export interface EnginePlan extends MemoryPlan, LoadedSizes {
  readonly planned: PlannedModel;
}

/**
 * What an engine will take, from the headers of its files alone: nothing is loaded and nothing allocated. `lines` are
 * for people, before any of it is taken. The draft model is the one that `openDraft` gives.
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
  const { adapters = null, maxNumBatchedTokens: numTokens } = options;
  const adapted = adapters === null ? null : { rank: adapters.maxRank, numTokens };
  const planned = planModel(checkpoint, { ...options, adapted });
  const plannedDraft = draft === null ? null : planModel(draft, options);
  const planFor = (modelMaxLen: number, numPositions: number) => {
    const draftLen = Math.min(numPositions, draft?.config.maxPositionEmbeddings ?? 0);
    const sizes: LoadedSizes = {
      freeBytes,
      weightBytes: weightBytesOf(planned, numPositions),
      rotationBytes: planned.ops.rotationBytesPerPosition * numPositions,
      activationBytes: largestStepBytes(options, planned),
      shape: planned.model.kvShape,
      dtype: kvDtypeOf(options, config, planned.activations === "f32"),
      modelMaxLen,
      draft: plannedDraft === null ? null : draftSizes(options, plannedDraft, draftLen),
    };
    return { ...sizes, ...planLoaded(options, sizes) };
  };
  // Rotation tables have a row for each position of the context, which is chosen by what the rest leaves.
  const { maxModelLen } = planFor(config.maxPositionEmbeddings, 0).kv;
  return { ...planFor(maxModelLen, maxModelLen), planned };
}

/** What is known of a model once it is loaded. */
export interface LoadedSizes {
  /** What was free before anything was taken. */
  readonly freeBytes: number;
  /** Rotation tables included. */
  readonly weightBytes: number;
  readonly rotationBytes: number;
  /** Of the model's largest step. */
  readonly activationBytes: number;
  readonly shape: KvTokenShape;
  readonly dtype: KvDtype;
  /** Longest context that there are rotation tables for. */
  readonly modelMaxLen: number;
  readonly draft: DraftSizes | null;
}

/** The plan again, with sizes that are no estimates any more. */
export function planLoaded(options: EngineOptions, sizes: LoadedSizes): MemoryPlan {
  return planMemory({
    ...sizes,
    utilization: options.memoryUtilization ?? null,
    activationBytes: Math.max(sizes.activationBytes, sizes.draft?.activationBytes ?? 0),
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
function draftSizes(options: EngineOptions, draft: PlannedModel, numPositions: number): DraftSizes {
  return {
    shape: draft.model.kvShape,
    weightBytes: weightBytesOf(draft, numPositions),
    activationBytes: largestStepBytes({ ...options, speculation: null }, draft),
  };
}

function weightBytesOf({ ops }: PlannedModel, numPositions: number): number {
  return ops.weightBytes + ops.rotationBytesPerPosition * numPositions;
}

/** What attention's scratch and the arena's first chunk take beside tensors. */
const activationSlackBytes = 8 * 1024 ** 2;

/** A step of as many tokens as fit, of which every sequence and every guess wants logits. */
function largestStepBytes(options: EngineOptions, { model, ops }: PlannedModel): number {
  const { maxNumSeqs, maxNumBatchedTokens, speculation } = options;
  const numLogitRows = Math.min(maxNumSeqs * (1 + (speculation?.numTokens ?? 0)), maxNumBatchedTokens);
  const cache = ops.createKvCache({ ...model.kvShape, numBlocks: 1, blockSize: 1, dtype: "f16" });
  const none = new Int32Array();
  const batch: RaggedBatch = {
    numTokens: maxNumBatchedTokens,
    numSeqs: 0,
    tokenIds: none,
    positions: none,
    slots: none,
    queryStarts: none,
    contextLengths: none,
    blockTables: none,
    blockTableStride: 0,
  };
  ops.beginStep(batch);
  model.logits(model.finalNorm(model.forward(cache), none, numLogitRows));
  return ops.memory().arena + activationSlackBytes;
}

/** What the options ask for, else what the checkpoint asks for; else f16, or f32 where activations are exact. */
export function kvDtypeOf(options: EngineOptions, { json }: ModelConfig, isExact: boolean): KvDtype {
  if (options.kvCacheDtype !== "auto") return options.kvCacheDtype;
  return kvCacheSchemeOf(json) ?? (isExact ? "f32" : "f16");
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
  const size =
    (options.memoryUtilization ?? null) === null ? "--kv-cache-memory-bytes" : "--memory-utilization";
  return [
    `context shortened from the model's ${formatCount(modelMaxLen)} to ${formatCount(plan.maxModelLen)} tokens to fit ` +
      `the KV cache; give --max-model-len auto or a larger ${size} for more`,
  ];
}
