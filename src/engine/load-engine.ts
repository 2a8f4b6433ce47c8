import { MillraceError } from "../base/errors.ts";
import { formatCount } from "../base/units.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { openCheckpoint } from "../formats/open-checkpoint.ts";
import { createOps } from "../kernels/create-ops.ts";
import { mapFile } from "../kernels/map-file.ts";
import type { KvDtype, Ops } from "../kernels/ops.ts";
import { type LoadedModel, loadModel } from "../model/load-model.ts";
import { requireArchitecture } from "../model/registry.ts";
import type { EngineInfo } from "../protocol/engine-client.ts";
import { endTokenIds } from "./end-tokens.ts";
import { Engine } from "./engine.ts";
import type { EngineOptions } from "./engine-options.ts";
import { EngineCounters } from "./engine-stats.ts";
import { checkWeightsFit, estimateWeightBytes, type KvPlan, planKvCache } from "./memory-plan.ts";

export type { EngineOptions } from "./engine-options.ts";

const defaultBlockSize = 32;

/**
 * Loads a model and makes an engine for it: backend, weights, KV cache. Memory is counted from the file's header
 * before any of it is taken.
 *
 * Errors: those of `openCheckpoint`, `createOps` and `loadModel`, and `out_of_memory`.
 */
export async function loadEngine(
  options: EngineOptions,
  counters: EngineCounters = new EngineCounters(),
): Promise<Engine> {
  checkLimits(options);
  const timer = new PhaseTimer();
  const checkpoint = openCheckpoint(options.modelPath, { mapFile, onArchitecture: requireArchitecture });
  timer.end("open");
  let ops: Ops | undefined;
  try {
    const before = planBeforeLoading(options, checkpoint);
    const backend = createOps({
      numThreads: options.numThreads,
      backend: options.backend,
      ...(options.isa === "auto" ? {} : { isa: options.isa }),
    });
    ops = backend.ops;
    timer.end("backend");
    const { dtype, activations } = options;
    const loaded = loadModel(ops, checkpoint, { dtype, activations, maxModelLen: before.maxModelLen });
    timer.end("pack");
    const assembly = { options, checkpoint, ops, loaded, maxModelLen: before.maxModelLen, counters };
    return assemble(assembly, backend.notes, timer);
  } catch (error) {
    ops?.close();
    throw error;
  } finally {
    checkpoint.close();
  }
}

interface Assembly {
  readonly options: EngineOptions;
  readonly checkpoint: Checkpoint;
  readonly ops: Ops;
  readonly loaded: LoadedModel;
  readonly maxModelLen: number;
  readonly counters: EngineCounters;
}

function assemble(assembly: Assembly, backendNotes: readonly string[], timer: PhaseTimer): Engine {
  const { options, checkpoint, ops, loaded, counters } = assembly;
  const { model } = loaded;
  const blockSize = options.blockSize ?? defaultBlockSize;
  const dtype = kvDtypeOf(options, loaded.activations === "f32");
  const plan = planFor(options, {
    ...assembly,
    shape: model.kvShape,
    dtype,
    availableBytes: process.availableMemory(),
  });
  const cache = ops.createKvCache({ ...model.kvShape, numBlocks: plan.numBlocks, blockSize, dtype });
  timer.end("kv");
  const info: EngineInfo = {
    architecture: checkpoint.config.architecture,
    vocabSize: model.vocabSize,
    maxModelLen: plan.maxModelLen,
    maxNumSeqs: options.maxNumSeqs,
    maxNumBatchedTokens: options.maxNumBatchedTokens,
    numTotalBlocks: plan.numBlocks,
    blockSize,
    kvDtype: dtype,
    backend: ops.backend,
    isa: ops.isa,
    numThreads: ops.numThreads,
    activations: loaded.activations,
    dtype: loaded.dtype,
    eosTokenIds: endTokenIds(checkpoint),
    memory: ops.memory(),
    loadTimesMs: timer.times(),
    notes: [...backendNotes, ...loaded.notes, plan.note, ...contextNotes(options, checkpoint, plan)],
  };
  const { longPrefillTokenThreshold, maxNumQueuedRequests, seed } = options;
  return new Engine({
    ops,
    model,
    cache,
    info,
    longPrefillTokenThreshold,
    maxNumQueuedRequests,
    seed,
    counters,
  });
}

/** Says aloud when nobody asked for a shorter context than the model's, but memory did. */
function contextNotes(options: EngineOptions, checkpoint: Checkpoint, plan: KvPlan): string[] {
  const modelMaxLen = checkpoint.config.maxPositionEmbeddings;
  if (options.maxModelLen !== null || plan.maxModelLen === modelMaxLen) return [];
  return [
    `context shortened from the model's ${formatCount(modelMaxLen)} to ${formatCount(plan.maxModelLen)} tokens to fit ` +
      "the KV cache; give --kv-cache-memory-bytes or --max-model-len for more",
  ];
}

function checkLimits({ maxNumSeqs, maxNumBatchedTokens }: EngineOptions): void {
  if (maxNumSeqs <= maxNumBatchedTokens) return;
  throw new MillraceError(
    "invalid_option",
    `--max-num-batched-tokens is ${maxNumBatchedTokens}; a step must hold one token of each of --max-num-seqs ` +
      `(${maxNumSeqs}) sequences. Raise the first or lower the second.`,
    { param: "--max-num-batched-tokens" },
  );
}

/** Refuses what cannot fit, and finds the context length that the rotation tables are made for. */
function planBeforeLoading(options: EngineOptions, checkpoint: Checkpoint): KvPlan {
  const { config } = checkpoint;
  if (options.maxModelLen !== null && options.maxModelLen > config.maxPositionEmbeddings) {
    throw new MillraceError(
      "invalid_option",
      `--max-model-len is ${formatCount(options.maxModelLen)}; ${options.modelPath} was made for at most ` +
        `${formatCount(config.maxPositionEmbeddings)} positions. Give that or less.`,
      { param: "--max-model-len" },
    );
  }
  const weightBytes = estimateWeightBytes(config, checkpoint.sizeBytes, options.dtype);
  const free = process.availableMemory();
  checkWeightsFit(weightBytes, free, options.dtype);
  const dtype = kvDtypeOf(options, options.activations === "f32" || options.dtype === "float32");
  const availableBytes = free - weightBytes;
  return planFor(options, {
    shape: config,
    dtype,
    availableBytes,
    maxModelLen: config.maxPositionEmbeddings,
  });
}

function planFor(
  options: EngineOptions,
  now: {
    readonly shape: { readonly numLayers: number; readonly numKvHeads: number; readonly headDim: number };
    readonly dtype: KvDtype;
    readonly availableBytes: number;
    readonly maxModelLen: number;
  },
): KvPlan {
  return planKvCache({
    availableBytes: now.availableBytes,
    shape: now.shape,
    dtype: now.dtype,
    blockSize: options.blockSize ?? defaultBlockSize,
    askedMaxModelLen: options.maxModelLen,
    modelMaxLen: now.maxModelLen,
    maxNumSeqs: options.maxNumSeqs,
    kvCacheMemoryBytes: options.kvCacheMemoryBytes,
    numKvBlocks: options.numKvBlocks ?? null,
  });
}

function kvDtypeOf(options: EngineOptions, isExact: boolean): KvDtype {
  if (options.kvCacheDtype !== "auto") return options.kvCacheDtype;
  return isExact ? "f32" : "f16";
}

/** Milliseconds by phase of the load. */
class PhaseTimer {
  readonly #start: number = performance.now();
  readonly #times: Record<string, number> = {};
  #last: number = this.#start;

  end(phase: string): void {
    const now = performance.now();
    this.#times[phase] = now - this.#last;
    this.#last = now;
  }

  times(): Record<string, number> {
    return { ...this.#times, total: performance.now() - this.#start };
  }
}
