import { Counter, Gauge, type Registry } from "prom-client";
import { type EngineStats, stepTokenEdges } from "../protocol/engine-client.ts";
import { CountedHistogram } from "./counted-histogram.ts";
import type { ModelPool } from "./pool/model-pool.ts";
import type { ServedModel } from "./served-model.ts";
import type { ModelEntry } from "./server-context.ts";
import { kvCacheUsage } from "./stats-log.ts";

export const labelNames: readonly string[] = ["model_name", "engine"];

export function labelsOf(model: ServedModel): { model_name: string; engine: string } {
  return { model_name: model.id, engine: "0" };
}

type Total = {
  [Key in keyof EngineStats]: EngineStats[Key] extends number ? Key : never;
}[keyof EngineStats];

/** Totals of the engine as counters: field, name, help. vLLM's names where the meaning is the same. */
const totals: readonly (readonly [Total, string, string])[] = [
  ["numPreemptions", "vllm:num_preemptions_total", "Preemptions of running sequences."],
  ["prefixCacheQueries", "vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache."],
  ["prefixCacheHits", "vllm:prefix_cache_hits_total", "Prompt tokens that the prefix cache had."],
  ["numDrafts", "vllm:spec_decode_num_drafts_total", "Times that guesses of a sequence were verified."],
  ["numDraftTokens", "vllm:spec_decode_num_draft_tokens_total", "Guessed tokens that were verified."],
  ["numAcceptedTokens", "vllm:spec_decode_num_accepted_tokens_total", "Guessed tokens that were right."],
  [
    "numSpeculationFailures",
    "millrace:spec_decode_failures_total",
    "Faults that turned guessing off; must be 0.",
  ],
  ["numSteps", "millrace:steps_total", "Steps of the engine."],
  ["numSwappedBlocks", "millrace:swapped_blocks_total", "KV blocks moved to the host tier by preemption."],
  [
    "numRecomputedTokens",
    "millrace:recomputed_tokens_total",
    "Tokens given up by preemption, to compute again.",
  ],
  [
    "numPrefixMismatches",
    "millrace:prefix_mismatches_total",
    "Blocks that a self-check found different; must be 0.",
  ],
  ["numRefused", "millrace:refused_total", "Sequences and scores that the engine refused before any work."],
  ["numExpired", "millrace:expired_total", "Sequences and scores whose deadline passed."],
];

type TotalPerPos = {
  [Key in keyof EngineStats]: EngineStats[Key] extends readonly number[] ? Key : never;
}[keyof EngineStats];

/** Totals with a label `position`: 0 for the first guess of a step. */
const totalsPerPos: readonly (readonly [TotalPerPos, string, string])[] = [
  [
    "numDraftTokensPerPos",
    "millrace:spec_decode_num_draft_tokens_per_pos_total",
    "Guessed tokens that were verified, by position.",
  ],
  [
    "numAcceptedTokensPerPos",
    "vllm:spec_decode_num_accepted_tokens_per_pos_total",
    "Guessed tokens that were right, by position.",
  ],
];

const gauges: readonly (readonly [string, string, (stats: EngineStats) => number])[] = [
  ["vllm:num_requests_running", "Sequences in the running batch.", (stats) => stats.numRunning],
  ["vllm:num_requests_waiting", "Sequences waiting to run.", (stats) => stats.numWaiting],
  [
    "millrace:num_waiting_tokens",
    "Prompt tokens of sequences waiting to run.",
    (stats) => stats.numWaitingTokens,
  ],
  [
    "vllm:num_requests_swapped",
    "Preempted sequences that wait in the host tier.",
    (stats) => stats.numSwapped,
  ],
  ["vllm:kv_cache_usage_perc", "Share of KV blocks in use, 0 to 1.", kvCacheUsage],
];

/** What the engines know of themselves, read when the metrics are. */
export class EngineMetrics {
  readonly #totals: readonly (readonly [Total, Counter])[];
  readonly #totalsPerPos: readonly (readonly [TotalPerPos, Counter])[];
  readonly #gauges: readonly (readonly [(stats: EngineStats) => number, Gauge])[];
  readonly #stepTokens: CountedHistogram;
  readonly #stepTime: Counter;
  readonly #waitingByReason: Gauge;
  readonly #cacheConfig: Gauge;
  readonly #memory: Gauge;
  readonly #sleepState: Gauge;
  /** Totals as they were when they were last added to the counters. */
  readonly #seen = new Map<string, EngineStats>();

  constructor(registry: Registry) {
    const registers = [registry];
    this.#totals = totals.map(([field, name, help]) => [
      field,
      new Counter({ name, help, labelNames: [...labelNames], registers }),
    ]);
    this.#totalsPerPos = totalsPerPos.map(([field, name, help]) => [
      field,
      new Counter({ name, help, labelNames: [...labelNames, "position"], registers }),
    ]);
    this.#gauges = gauges.map(([name, help, read]) => [
      read,
      new Gauge({ name, help, labelNames: [...labelNames], registers }),
    ]);
    this.#stepTokens = new CountedHistogram(
      "vllm:iteration_tokens_total",
      "Tokens per step of the engine.",
      stepTokenEdges,
      registry,
    );
    this.#stepTime = new Counter({
      name: "millrace:step_seconds_total",
      help: "Time of the engine's steps by part: schedule, compute, publish.",
      labelNames: [...labelNames, "part"],
      registers,
    });
    this.#waitingByReason = new Gauge({
      name: "vllm:num_requests_waiting_by_reason",
      help: "Sequences waiting to run: for a place, or deferred until another has computed their prefix.",
      labelNames: [...labelNames, "reason"],
      registers,
    });
    this.#cacheConfig = new Gauge({
      name: "vllm:cache_config_info",
      help: "Size and form of the KV cache.",
      labelNames: [...labelNames, "block_size", "num_gpu_blocks", "cache_dtype"],
      registers,
    });
    this.#memory = new Gauge({
      name: "millrace:memory_bytes",
      help: "Bytes that weights and KV cache take, and activations of the largest step so far.",
      labelNames: [...labelNames, "part"],
      registers,
    });
    this.#sleepState = new Gauge({
      name: "vllm:engine_sleep_state",
      help: "Whether the engine takes requests (awake), or sleeps and holds nothing (discard_all). It never keeps weights aside (weights_offloaded).",
      labelNames: [...labelNames, "sleep_state"],
      registers,
    });
  }

  /** @param pool null where engines are never put away */
  async update(entries: readonly ModelEntry[], pool: ModelPool | null): Promise<void> {
    for (const { model, probe } of entries) {
      this.#setSleepState(model, pool?.find(model.id)?.client.state === "asleep");
      const stats = await probe.stats();
      if (stats !== null) this.#updateModel(model, stats);
    }
  }

  #setSleepState(model: ServedModel, isAsleep: boolean): void {
    const labels = labelsOf(model);
    this.#sleepState.set({ ...labels, sleep_state: "awake" }, isAsleep ? 0 : 1);
    this.#sleepState.set({ ...labels, sleep_state: "weights_offloaded" }, 0);
    this.#sleepState.set({ ...labels, sleep_state: "discard_all" }, isAsleep ? 1 : 0);
  }

  #updateModel(model: ServedModel, stats: EngineStats): void {
    const labels = labelsOf(model);
    const seen = this.#seen.get(model.id);
    for (const [read, gauge] of this.#gauges) gauge.set(labels, read(stats));
    const { numWaiting, numDeferred } = stats;
    this.#waitingByReason.set({ ...labels, reason: "capacity" }, Math.max(0, numWaiting - numDeferred));
    this.#waitingByReason.set({ ...labels, reason: "deferred" }, numDeferred);
    for (const [field, counter] of this.#totals)
      counter.inc(labels, addedSince(seen?.[field] ?? 0, stats[field]));
    for (const [field, counter] of this.#totalsPerPos) {
      for (const [position, total] of stats[field].entries()) {
        const added = addedSince(seen?.[field][position] ?? 0, total);
        // Positions at which nothing was ever guessed are not shown.
        if (added > 0) counter.inc({ ...labels, position }, added);
      }
    }
    this.#seen.set(model.id, stats);
    this.#stepTokens.set(labels, stats.numStepsByTokens, stats.numStepTokens);
    const times = { schedule: "scheduleMs", compute: "computeMs", publish: "publishMs" } as const;
    for (const [part, field] of Object.entries(times)) {
      const addedMs = addedSince(seen?.[field] ?? 0, stats[field]);
      this.#stepTime.inc({ ...labels, part }, addedMs / 1000);
    }
    const { blockSize, numTotalBlocks, kvDtype, memory } = model.client.info;
    const cache = { block_size: blockSize, num_gpu_blocks: numTotalBlocks, cache_dtype: kvDtype };
    this.#cacheConfig.set({ ...labels, ...cache }, 1);
    this.#memory.set({ ...labels, part: "weights" }, memory.weights);
    this.#memory.set({ ...labels, part: "kv_cache" }, memory.kvCache);
    this.#memory.set({ ...labels, part: "activations" }, memory.arena);
  }
}

/** What a total grew by; one that is smaller than before is that of an engine that was started anew. */
function addedSince(before: number, now: number): number {
  return now < before ? now : now - before;
}
