import { formatBytes } from "../base/units.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { openCheckpoint } from "../formats/open-checkpoint.ts";
import { createOps } from "../kernels/create-ops.ts";
import { type AdaptedRows, addLowRankDeltas } from "../kernels/low-rank-deltas.ts";
import { mapFile } from "../kernels/map-file.ts";
import type { Ops } from "../kernels/ops.ts";
import { type LoadedModel, loadModel } from "../model/load-model.ts";
import { requireArchitecture } from "../model/registry.ts";
import type { EngineInfo } from "../protocol/engine-client.ts";
import { AdapterTable, type AdapterTableParts, type LoadedAdapters } from "./adapters/adapter-table.ts";
import type { AdmissionSettings } from "./admission-control.ts";
import { checkEngineOptions } from "./check-options.ts";
import { endTokenIds } from "./end-tokens.ts";
import { EngineLoop } from "./engine-loop.ts";
import type { EngineOptions, LoadWatch } from "./engine-options.ts";
import {
  contextNotes,
  defaultBlockSize,
  type EnginePlan,
  kvDtypeOf,
  planEngine,
  planLoaded,
} from "./engine-plan.ts";
import { EngineCounters } from "./engine-stats.ts";
import type { KvPlan } from "./kv-plan.ts";
import { loadSpeculation, openDraft } from "./speculation/load-speculation.ts";
import { defaultVictims, type VictimPolicyName } from "./victim-policy.ts";

export type { EngineOptions } from "./engine-options.ts";

/**
 * Loads a model and makes an engine for it: backend, weights, KV cache. Memory is counted from the file's header
 * before any of it is taken.
 *
 * Errors: those of `checkEngineOptions`, `openCheckpoint`, `createOps` and `loadModel`, and `out_of_memory`.
 */
export async function loadEngine(options: EngineOptions, watch: LoadWatch = {}): Promise<EngineLoop> {
  checkEngineOptions(options);
  const timer = new PhaseTimer();
  const checkpoint = openCheckpoint(options.modelPath, { mapFile, onArchitecture: requireArchitecture });
  let draft: Checkpoint | null = null;
  let ops: Ops | undefined;
  try {
    draft = openDraft(options, checkpoint);
    timer.end("open");
    const before = planEngine(options, checkpoint, draft);
    watch.onPlan?.(before.lines);
    const backend = createOps({
      numThreads: options.numThreads,
      backend: options.backend,
      isa: options.isa,
      attentionDtype: options.attentionDtype ?? "auto",
    });
    ops = backend.ops;
    timer.end("backend");
    const { dtype, activations } = options;
    const adapted: AdaptedRows[] = [];
    const modelOps = (options.adapters ?? null) === null ? ops : addLowRankDeltas(ops, adapted);
    const precision = { dtype, activations, maxModelLen: before.kv.maxModelLen };
    const loaded = loadModel(modelOps, checkpoint, precision);
    const adapters = loadAdapters(options, { ops, linears: loaded.adaptable, adapted });
    timer.end("pack");
    const { counters = new EngineCounters() } = watch;
    const assembly = { options, checkpoint, draft, ops, loaded, adapters, before, counters };
    return assemble(assembly, backend.notes, timer);
  } catch (error) {
    ops?.close();
    throw error;
  } finally {
    draft?.close();
    checkpoint.close();
  }
}

/** Those that the engine starts with, and room for more; null where none are asked for. */
function loadAdapters(
  options: EngineOptions,
  parts: Pick<AdapterTableParts, "ops" | "linears" | "adapted">,
): LoadedAdapters | null {
  const { adapters = null, maxNumQueuedRequests, maxNumSeqs, maxNumBatchedTokens: maxNumTokens } = options;
  if (adapters === null) return null;
  const numRows = maxNumQueuedRequests + maxNumSeqs;
  const table = new AdapterTable({ ...parts, limits: adapters, numRows, maxNumTokens });
  return { table, initial: adapters.initial.map((source) => table.load(source)) };
}

interface Assembly {
  readonly options: EngineOptions;
  readonly checkpoint: Checkpoint;
  readonly draft: Checkpoint | null;
  readonly ops: Ops;
  readonly loaded: LoadedModel;
  readonly adapters: LoadedAdapters | null;
  readonly before: EnginePlan;
  readonly counters: EngineCounters;
}

function assemble(assembly: Assembly, backendNotes: readonly string[], timer: PhaseTimer): EngineLoop {
  const { options, checkpoint, draft, ops, loaded, adapters, before, counters } = assembly;
  const { model } = loaded;
  const blockSize = options.blockSize ?? defaultBlockSize;
  const dtype = kvDtypeOf(options, checkpoint.config, loaded.activations === "f32");
  const { kv, numHostBlocks } = planLoaded(options, {
    ...before,
    weightBytes: ops.memory().weights,
    shape: model.kvShape,
    dtype,
    modelMaxLen: before.kv.maxModelLen,
  });
  const cache = ops.createKvCache({ ...model.kvShape, numBlocks: kv.numBlocks, blockSize, dtype });
  const host = numHostBlocks === 0 ? null : ops.createKvHost(cache, numHostBlocks);
  timer.end("kv");
  const speculation = loadSpeculation(options, draft, { ops, cache, maxModelLen: kv.maxModelLen });
  timer.end("draft");
  const info: EngineInfo = {
    architecture: checkpoint.config.architecture,
    embeddingSize: null,
    vocabSize: model.vocabSize,
    maxModelLen: kv.maxModelLen,
    maxPositions: checkpoint.config.maxPositionEmbeddings,
    maxNumSeqs: options.maxNumSeqs,
    maxNumBatchedTokens: options.maxNumBatchedTokens,
    maxNumQueuedRequests: maxQueuedOfOne(options),
    maxNumQueuedTokens: options.maxNumQueuedTokens ?? 0,
    numTotalBlocks: kv.numBlocks,
    blockSize,
    kvDtype: dtype,
    backend: ops.backend,
    isa: ops.isa,
    attentionDtype: ops.attentionDtype,
    numThreads: ops.numThreads,
    activations: loaded.activations,
    dtype: loaded.dtype,
    eosTokenIds: endTokenIds(checkpoint),
    memory: ops.memory(),
    loadTimesMs: timer.times(),
    notes: [...backendNotes, ...loaded.notes, ...kvNotes(options, checkpoint, kv)],
  };
  return new EngineLoop({
    ops,
    model,
    cache,
    info,
    host,
    longPrefillTokenThreshold: options.longPrefillTokenThreshold,
    admission: admissionSettings(options),
    victims: victimPolicyOf(options),
    seed: options.seed,
    isPrefixCaching: options.enablePrefixCaching ?? true,
    isPrefixChecking: options.checkPrefixCache ?? false,
    speculation,
    adapters,
    counters,
  });
}

function kvNotes(options: EngineOptions, checkpoint: Checkpoint, kv: KvPlan): string[] {
  const size = `KV cache: ${formatBytes(kv.sizeBytes)}, ${kv.contents}`;
  return [size, ...contextNotes(options, checkpoint, kv)];
}

function victimPolicyOf(options: EngineOptions): VictimPolicyName {
  return options.preemptionVictim ?? defaultVictims(options.schedulingPolicy ?? "fcfs");
}

/** Most waiting requests of one sender. */
function maxQueuedOfOne({ maxNumQueuedRequests, maxNumQueuedRequestsPerTenant }: EngineOptions): number {
  return Math.min(maxNumQueuedRequests, maxNumQueuedRequestsPerTenant || maxNumQueuedRequests);
}

function admissionSettings(options: EngineOptions): AdmissionSettings {
  const schedulingPolicy = options.schedulingPolicy ?? "fcfs";
  return {
    schedulingPolicy,
    tenantWeights: options.tenantWeights ?? new Map(),
    usesPriority: schedulingPolicy === "priority" || victimPolicyOf(options) === "priority",
    maxNumSeqs: options.maxNumSeqs,
    maxNumBatchedTokens: options.maxNumBatchedTokens,
    maxNumQueuedRequests: options.maxNumQueuedRequests,
    maxNumQueuedTokens: options.maxNumQueuedTokens ?? 0,
    maxNumQueuedRequestsPerTenant: options.maxNumQueuedRequestsPerTenant ?? 0,
  };
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
