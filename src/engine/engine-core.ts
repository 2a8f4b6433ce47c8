import { sharedNow } from "../base/clock.ts";
import { maxLogprobs } from "../protocol/sampling-params.ts";
import type { AdapterTable } from "./adapters/adapter-table.ts";
import { AdmissionControl } from "./admission-control.ts";
import { createKvManager, type KvSettings } from "./create-kv-manager.ts";
import type { EngineParts } from "./engine-parts.ts";
import { EngineCounters } from "./engine-stats.ts";
import type { KvManager } from "./kv-manager.ts";
import { ModelRunner } from "./model-runner.ts";
import { RequestTraces } from "./request-trace.ts";
import { Sampler } from "./sampler.ts";
import { Scheduler } from "./scheduler.ts";
import { ScoreTable } from "./score-table.ts";
import { SequenceTable } from "./sequence-table.ts";
import { createSpeculator } from "./speculation/create-speculator.ts";
import type { Speculator } from "./speculation/speculator.ts";
import { StepCosts } from "./step-costs.ts";
import { StepResults } from "./step-results.ts";
import { StopRules } from "./stop-rules.ts";
import { createVictimPolicy } from "./victim-policy.ts";

/** The pieces that work together in a step, each made once. */
export interface EngineCore {
  readonly counters: EngineCounters;
  readonly table: SequenceTable;
  readonly admission: AdmissionControl;
  readonly kv: KvManager;
  readonly scheduler: Scheduler;
  readonly sampler: Sampler;
  readonly stopRules: StopRules;
  readonly scores: ScoreTable;
  readonly runner: ModelRunner;
  readonly speculator: Speculator | null;
  readonly results: StepResults;
  readonly traces: RequestTraces;
  /** Null where no adapters can be loaded. */
  readonly adapters: AdapterTable | null;
}

/** Makes the pieces and ties them together. */
export function createEngineCore(parts: EngineParts): EngineCore {
  const { ops, info, model, cache, host, longPrefillTokenThreshold } = parts;
  const { maxNumSeqs, maxNumBatchedTokens, maxModelLen, blockSize } = info;
  const limits = { maxNumSeqs, maxNumBatchedTokens, longPrefillTokenThreshold };
  const counters = parts.counters ?? new EngineCounters();
  // Waiting ones are bounded by the queue; running ones, and preempted ones that wait again, by maxNumSeqs.
  const table = new SequenceTable(parts.admission.maxNumQueuedRequests + maxNumSeqs, blockSize);
  const admission = new AdmissionControl(parts.admission, table.capacity);
  const costs = new StepCosts(cache.sizeBytes / cache.numBlocks, admission.estimate.stepTimes);
  const kv = createKvManager(kvSettingsOf(parts), { table, costs, counters });
  const { queue, priorities } = admission;
  const victims = createVictimPolicy(parts.victims, { priorities, numBlocks: table.numBlocks });
  const scheduler = new Scheduler({ limits, table, kv, queue, victims, counters });
  const numDrafts = parts.speculation?.numTokens ?? 0;
  const maxNumDraws = Math.min(maxNumBatchedTokens, maxNumSeqs * (1 + numDrafts));
  const sampler = new Sampler(ops, table, maxNumDraws, maxLogprobs);
  const speculator = createSpeculator(parts, { table, kv, sampler, scheduler });
  const stopRules = new StopRules(table, info.eosTokenIds);
  const scores = new ScoreTable(table.capacity);
  const { moves, prefixes } = kv;
  const adapters = parts.adapters?.table ?? null;
  const backend = { ops, model, cache, host, moves, adapters };
  const runner = new ModelRunner({ ...backend, table, sampler, scores, limits, maxModelLen });
  const results = new StepResults({ table, sampler, runner, stopRules, scores, counters, speculator });
  const { hitEnds } = prefixes;
  const traces = new RequestTraces({ table, hitEnds, results, maxNumSeqs, now: sharedNow });
  counters.set("numTotalBlocks", cache.numBlocks);
  counters.set("blockSize", blockSize);
  const books = { counters, table, admission, kv, scheduler, traces };
  return { ...books, adapters, sampler, stopRules, scores, runner, speculator, results };
}

function kvSettingsOf({ ops, cache, host, isPrefixCaching, isPrefixChecking }: EngineParts): KvSettings {
  const { numBlocks, blockSize } = cache;
  const settings = { numBlocks, blockSize, numHostBlocks: host?.numBlocks ?? 0, isSharing: isPrefixCaching };
  if (!isPrefixChecking) return settings;
  return { ...settings, compare: (blockA, blockB, count) => ops.equalKv(cache, blockA, blockB, count) };
}
