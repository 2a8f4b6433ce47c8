import type { BenchRecord, BenchStage, RateStage, RequestRecord } from "../../records/bench.ts";
import { inFlightOf } from "../figures/concurrency.ts";
import { chunkTokensOf, e2eOf, tokensOf, tpotOf, ttftOf } from "../slices.ts";
import {
  evenDistribution,
  type GuidellmDistribution,
  type Weighted,
  weightedDistribution,
} from "./weighted-distribution.ts";

/** The form that GuideLLM 0.7 and 0.8 write. */
const formatVersion = 2;

/** How requests came, in GuideLLM's words. */
export interface GuidellmStrategy {
  readonly type_: string;
  readonly streams?: number;
  readonly rate?: number | "inf";
  readonly max_concurrency?: number | null;
}

export interface GuidellmBenchmark {
  readonly config: {
    readonly run_index: number;
    readonly strategy: GuidellmStrategy;
    readonly [field: string]: unknown;
  };
  /** `request_totals` are numbers, the rest distributions. */
  readonly metrics: Readonly<Record<string, ByFate<number> | ByFate<GuidellmDistribution>>>;
  readonly [field: string]: unknown;
}

export interface GuidellmReport {
  readonly benchmarks: readonly GuidellmBenchmark[];
  readonly [field: string]: unknown;
}

interface StageWithRequests {
  readonly stage: BenchStage | RateStage;
  readonly requests: readonly RequestRecord[];
}

/** What became of requests, in GuideLLM's words. */
const fates = ["successful", "incomplete", "errored"] as const;
type Fate = (typeof fates)[number];
export type ByFate<T> = Readonly<Record<Fate | "total", T>>;

/**
 * A load test in the words of GuideLLM's report: one benchmark for each stage, with its figures and requests. Its ITL is
 * our TPOT, its TPOT our end-to-end time per token without what comes behind the last token; both are weighted by tokens,
 * as GuideLLM weights them.
 */
export function guidellmReport(record: BenchRecord, stages: readonly StageWithRequests[]): GuidellmReport {
  return {
    metadata: {
      version: formatVersion,
      // It asks for words here.
      guidellm_version: `none: millrace ${record.origin.version}`,
      python_version: "none",
      platform: record.origin.processor,
    },
    config: {
      metadata: { labels: { written_by: `millrace ${record.origin.version}` } },
      spec: {
        backend: { kind: "openai_http", target: record.url, model: record.model },
        data: [
          {
            kind: "synthetic_text",
            prompt_tokens: record.workload.inputTokens,
            output_tokens: record.workload.outputTokens,
          },
        ],
        seed: { kind: "static", value: record.workload.seed },
        profile: profileOf(stages),
      },
    },
    benchmarks: stages.map((each, index) => benchmarkOf(record, each, index)),
  };
}

/** GuideLLM knows one profile a report: that of the closed loops, where there are any; each benchmark has its own strategy. */
function profileOf(stages: readonly StageWithRequests[]): Readonly<Record<string, unknown>> {
  const streams = stages.flatMap(({ stage }) => ("concurrency" in stage ? [stage.concurrency] : []));
  return streams.length === 0 ? { kind: "throughput" } : { kind: "concurrent", streams };
}

function benchmarkOf(
  record: BenchRecord,
  { stage, requests }: StageWithRequests,
  index: number,
): GuidellmBenchmark {
  const startSeconds = Date.parse(record.origin.startedAt) / 1000;
  const endSeconds = startSeconds + stage.durationMs / 1000;
  const groups = groupByFate(requests);
  const statsOf = (request: RequestRecord): Record<string, unknown> => requestStats(request, startSeconds);
  return {
    type_: "generative_benchmark",
    config: {
      ...unknownConfig,
      run_id: record.origin.startedAt,
      run_index: index,
      strategy: strategyOf(stage),
    },
    scheduler_state: {},
    scheduler_metrics: {
      start_time: startSeconds,
      request_start_time: startSeconds,
      measure_start_time: startSeconds,
      measure_end_time: endSeconds,
      request_end_time: endSeconds,
      end_time: endSeconds,
      requests_made: countsOf(groups),
      ...schedulerAverages(requests),
    },
    metrics: {
      request_totals: countsOf(groups),
      ...metricsOf(groups, stage.durationMs),
      ...unknownMetrics,
    },
    requests: {
      successful: groups.successful.map(statsOf),
      incomplete: groups.incomplete.map(statsOf),
      errored: groups.errored.map(statsOf),
    },
    start_time: startSeconds,
    end_time: endSeconds,
    duration: stage.durationMs / 1000,
    warmup_duration: 0,
    cooldown_duration: 0,
  };
}

/** Parts of a configuration that GuideLLM wants to find, and that Millrace has in its own record. */
const unknownConfig = { constraints: {}, profile: {}, requests: {}, backend: {}, environment: {} };

const none = { tokens: null, words: null, characters: null };
/** What requests were made of, which GuideLLM wants to find and Millrace does not count. */
const unknownMetrics: object = {
  text: none,
  image: { tokens: null, images: null, pixels: null, bytes: null },
  video: { tokens: null, frames: null, seconds: null, bytes: null },
  audio: { tokens: null, samples: null, seconds: null, bytes: null },
  tool_call: { tokens: null, mixed_tokens: null, count: null },
};

/** Means in seconds. Millrace has no queue between a request's time and its worker, so that what is of one is 0. */
function schedulerAverages(requests: readonly RequestRecord[]): Readonly<Record<string, number>> {
  const mean = (valueOf: (request: RequestRecord) => number): number =>
    requests.length === 0
      ? 0
      : requests.reduce((sum, request) => sum + valueOf(request), 0) / requests.length / 1000;
  const late = mean(({ sentMs, dueMs }) => sentMs - (dueMs ?? sentMs));
  const whole = mean(({ sentMs, endMs }) => endMs - sentMs);
  return {
    queued_time_avg: 0,
    resolve_start_delay_avg: 0,
    resolve_targeted_start_delay_avg: late,
    request_start_delay_avg: 0,
    request_targeted_start_delay_avg: late,
    request_time_avg: whole,
    resolve_end_delay_avg: 0,
    resolve_time_avg: whole,
    finalized_delay_avg: 0,
    processed_delay_avg: 0,
  };
}

function strategyOf(stage: BenchStage | RateStage): GuidellmStrategy {
  if ("concurrency" in stage) {
    return stage.concurrency === 1
      ? { type_: "synchronous" }
      : { type_: "concurrent", streams: stage.concurrency, max_concurrency: stage.concurrency };
  }
  const max = { max_concurrency: stage.maxConcurrency };
  if (stage.requestRate === "inf") return { type_: "throughput", ...max };
  return { type_: stage.burstiness === "inf" ? "constant" : "poisson", rate: stage.requestRate, ...max };
}

function groupByFate(requests: readonly RequestRecord[]): ByFate<readonly RequestRecord[]> {
  return {
    successful: requests.filter(({ error }) => error === null),
    incomplete: requests.filter(({ errorKind }) => errorKind === "censored"),
    errored: requests.filter(({ errorKind }) => errorKind !== null && errorKind !== "censored"),
    total: requests,
  };
}

function countsOf(groups: ByFate<readonly RequestRecord[]>): ByFate<number> {
  return mapFates(groups, (group) => group.length);
}

function mapFates<T, R>(groups: ByFate<T>, map: (group: T) => R): ByFate<R> {
  return {
    successful: map(groups.successful),
    incomplete: map(groups.incomplete),
    errored: map(groups.errored),
    total: map(groups.total),
  };
}

type Summary = (group: readonly RequestRecord[], durationMs: number) => GuidellmDistribution;

/** One value a request, of those that have it. */
function perRequest(valueOf: (request: RequestRecord) => number | null): Summary {
  return (group) => evenDistribution(group.flatMap((request) => valueOf(request) ?? []));
}

const hasToken = ({ firstTokenMs }: RequestRecord): boolean => firstTokenMs !== null;

/** Every metric of the report, by its name there. */
const metrics: Readonly<Record<string, Summary>> = {
  requests_per_second: (group, durationMs) =>
    rateDistribution(
      group.map(({ endMs }): Weighted => [endMs, 1]),
      durationMs,
      group.length,
    ),
  request_concurrency: (group, durationMs) => concurrencyDistribution(group, durationMs),
  request_latency: perRequest((request) => e2eOf(request) / 1000),
  request_streaming_iterations_count: perRequest(({ chunkMs }) => chunkMs.length),
  prompt_token_count: perRequest(({ promptTokens }) => promptTokens),
  output_token_count: perRequest(tokensOf),
  total_token_count: perRequest((request) => (request.promptTokens ?? 0) + tokensOf(request)),
  time_to_first_token_ms: perRequest((request) => (hasToken(request) ? ttftOf(request) : null)),
  time_to_first_output_token_ms: perRequest((request) => (hasToken(request) ? ttftOf(request) : null)),
  time_per_output_token_ms: (group) =>
    byTokens(group, (request) => (request.lastTokenMs! - request.sentMs) / tokensOf(request), tokensOf),
  inter_token_latency_ms: (group) => byTokens(group, tpotOf, (request) => tokensOf(request) - 1),
  // GuideLLM writes 0 where nothing but a WebSocket could have told.
  time_to_last_round_trip_ms: perRequest(() => 0),
  avg_round_trip_time_ms: perRequest(() => 0),
  output_tokens_per_iteration: (group) => evenDistribution(group.filter(hasToken).flatMap(chunkTokensOf)),
  iter_tokens_per_iteration: (group) =>
    evenDistribution(group.filter(hasToken).flatMap((request) => chunkTokensOf(request).slice(1))),
  prompt_tokens_per_second: (group, durationMs) =>
    tokenRates(group, durationMs, { input: true, output: false }),
  output_tokens_per_second: (group, durationMs) =>
    tokenRates(group, durationMs, { input: false, output: true }),
  tokens_per_second: (group, durationMs) => tokenRates(group, durationMs, { input: true, output: true }),
};

function metricsOf(
  groups: ByFate<readonly RequestRecord[]>,
  durationMs: number,
): Readonly<Record<string, ByFate<GuidellmDistribution>>> {
  return Object.fromEntries(
    Object.entries(metrics).map(([name, summary]) => [
      name,
      mapFates(groups, (group) => summary(group, durationMs)),
    ]),
  );
}

/** One value a request, which counts as often as the request has tokens. */
function byTokens(
  group: readonly RequestRecord[],
  valueOf: (request: RequestRecord) => number | null,
  weightOf: (request: RequestRecord) => number,
): GuidellmDistribution {
  const values = group.flatMap((request): Weighted[] => {
    const value = hasToken(request) ? valueOf(request) : null;
    return value === null ? [] : [[value, weightOf(request)]];
  });
  return weightedDistribution(
    values,
    values.reduce((sum, [, weight]) => sum + weight, 0),
  );
}

function tokenRates(
  group: readonly RequestRecord[],
  durationMs: number,
  which: { readonly input: boolean; readonly output: boolean },
): GuidellmDistribution {
  const events = group
    .filter(hasToken)
    .flatMap((request): Weighted[] => [
      ...(which.input ? [[request.firstTokenMs!, request.promptTokens ?? 0] as Weighted] : []),
      ...(which.output
        ? chunkTokensOf(request).map((tokens, i): Weighted => [request.chunkMs[i]!, tokens])
        : []),
    ]);
  return rateDistribution(
    events,
    durationMs,
    // Tokens of a chunk may be a share of what the server counted.
    Math.round(events.reduce((sum, [, tokens]) => sum + tokens, 0)),
  );
}

/**
 * Rates between events, each as long as the time since the event before; the mean is what came over the whole stage.
 *
 * @param events times in milliseconds, and how much came at each
 */
function rateDistribution(
  events: readonly Weighted[],
  durationMs: number,
  count: number,
): GuidellmDistribution {
  let lastMs = 0;
  const rates = events
    .toSorted(([a], [b]) => a - b)
    .flatMap(([atMs, amount]): Weighted[] => {
      const gap = atMs - lastMs;
      lastMs = atMs;
      return gap <= 0 ? [] : [[(1000 * amount) / gap, gap]];
    });
  const amount = events.reduce((sum, [, each]) => sum + each, 0);
  const mean = (1000 * amount) / durationMs;
  return { ...weightedDistribution(rates, count), mean, total_sum: mean * count };
}

function concurrencyDistribution(group: readonly RequestRecord[], durationMs: number): GuidellmDistribution {
  const { atMs, count } = inFlightOf(group);
  const levels = count.map((level, i): Weighted => [level, (atMs[i + 1] ?? durationMs) - atMs[i]!]);
  return weightedDistribution([[0, atMs[0] ?? durationMs], ...levels], group.length);
}

function requestStats(request: RequestRecord, startSeconds: number): Record<string, unknown> {
  const at = (ms: number | null): number | null => (ms === null ? null : startSeconds + ms / 1000);
  const { sentMs, endMs, firstTokenMs, lastTokenMs, promptTokens, error } = request;
  const tokens = tokensOf(request);
  return {
    type_: "generative_request_stats",
    request_id: `bench-${request.index}-${request.turn}`,
    info: {
      status: error === null ? "completed" : request.errorKind === "censored" ? "cancelled" : "errored",
      turn_index: request.turn,
      timings: {
        targeted_start: at(request.dueMs ?? sentMs),
        request_start: at(sentMs),
        first_token_iteration: at(firstTokenMs),
        first_output_token_iteration: at(firstTokenMs),
        last_token_iteration: at(lastTokenMs),
        request_iterations: request.chunkMs.length,
        token_iterations: request.chunkMs.length,
        request_end: at(endMs),
      },
      error,
    },
    input_metrics: {
      text_tokens: promptTokens,
      cached_tokens: request.cachedTokens,
      total_tokens: promptTokens,
    },
    output_metrics: { text_tokens: tokens, total_tokens: tokens },
    request_start_time: at(sentMs),
    request_end_time: at(endMs),
    request_latency: e2eOf(request) / 1000,
    prompt_tokens: promptTokens,
    output_tokens: tokens,
    total_tokens: (promptTokens ?? 0) + tokens,
    time_to_first_token_ms: hasToken(request) ? ttftOf(request) : null,
    time_per_output_token_ms: hasToken(request) && tokens > 0 ? (lastTokenMs! - sentMs) / tokens : null,
    inter_token_latency_ms: hasToken(request) ? tpotOf(request) : null,
  };
}
