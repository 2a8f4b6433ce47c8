import type { BenchRecord, BenchStage, RateStage, RequestRecord } from "../../records/bench.ts";
import { percentile } from "../distribution.ts";
import { tokensOf } from "../slices.ts";

/** A stage with its raw records, and the load test that it belongs to. */
export interface ExportedStage {
  readonly record: Pick<BenchRecord, "model" | "origin">;
  readonly stage: BenchStage | RateStage;
  readonly requests: readonly RequestRecord[];
}

/** Metrics by vLLM's names; each becomes mean_, median_, std_ and p99_…_ms. */
const metrics = ["ttft", "tpot", "itl", "e2el"] as const;
export type VllmMetric = (typeof metrics)[number];

/** What `vllm bench serve --save-result --save-detailed` writes of one load; times in seconds unless `_ms` says otherwise. */
export type VllmResult = Readonly<Record<string, unknown>> & {
  readonly completed: number;
  readonly failed: number;
  readonly max_concurrency: number | null;
  readonly request_rate: number | "inf";
  readonly duration: number;
  readonly total_input_tokens: number;
  readonly total_output_tokens: number;
  readonly request_throughput: number;
  readonly request_goodput: number | null;
  readonly output_throughput: number;
  readonly total_token_throughput: number;
  readonly max_output_tokens_per_s: number;
  readonly max_concurrent_requests: number;
};

/**
 * A stage in the words of `vllm bench serve` 0.32. Its TPOT is ours, its ITL our chunk gap with zeros where chunks came in
 * one read, its peaks count chunks and requests in whole seconds. Requests that the end cut off are left out.
 */
export function vllmResult({ record, stage, requests }: ExportedStage): VllmResult {
  const known = requests
    .filter(({ errorKind }) => errorKind !== "censored")
    .toSorted((a, b) => a.index - b.index || a.turn - b.turn);
  const good = known.filter(({ error }) => error === null);
  const seconds = stage.durationMs / 1000;
  const inputTokens = good.reduce((sum, { promptTokens }) => sum + (promptTokens ?? 0), 0);
  const outputTokens = good.reduce((sum, request) => sum + tokensOf(request), 0);
  const isOpen = "requestRate" in stage;
  return {
    date: vllmDate(record.origin.startedAt),
    endpoint_type: "openai",
    backend: "openai",
    label: null,
    model_id: record.model,
    tokenizer_id: record.model,
    num_prompts: known.length,
    request_rate: isOpen ? stage.requestRate : "inf",
    burstiness: isOpen && typeof stage.burstiness === "number" ? stage.burstiness : 1,
    max_concurrency: isOpen ? stage.maxConcurrency : stage.concurrency,
    duration: seconds,
    completed: good.length,
    failed: known.length - good.length,
    total_input_tokens: inputTokens,
    total_output_tokens: outputTokens,
    request_throughput: good.length / seconds,
    request_goodput: stage.goodput === null ? null : stage.goodput.numGood / seconds,
    output_throughput: outputTokens / seconds,
    total_token_throughput: (inputTokens + outputTokens) / seconds,
    ...arraysOf(known, record.origin.startedAt),
    ...peaksOf(good),
    rtfx: 0,
    // Ours; vLLM's tools pass over what they do not know.
    written_by: `millrace ${record.origin.version}`,
    ...Object.assign({}, ...metrics.map((metric) => summaryOf(metric, valuesOf(metric, good)))),
  } as VllmResult;
}

/** "20260131-235959", as vLLM writes a date. */
function vllmDate(iso: string): string {
  return iso.replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
}

function arraysOf(known: readonly RequestRecord[], startedAt: string): Record<string, unknown> {
  const startSeconds = Date.parse(startedAt) / 1000;
  const isGood = ({ error }: RequestRecord): boolean => error === null;
  return {
    input_lens: known.map(({ promptTokens }) => promptTokens ?? 0),
    output_lens: known.map((request) => (isGood(request) ? tokensOf(request) : 0)),
    ttfts: known.map((request) => (isGood(request) ? ttftSeconds(request) : 0)),
    itls: known.map(gapSeconds),
    latencies: known.map((request) => (isGood(request) ? latencySeconds(request) : 0)),
    start_times: known.map(({ sentMs }) => startSeconds + sentMs / 1000),
    queue_times: known.map(({ dueMs, sentMs }) => (dueMs === null ? 0 : Math.max(0, sentMs - dueMs) / 1000)),
    generated_texts: known.map(() => ""),
    errors: known.map(({ error }) => error ?? ""),
  };
}

function ttftSeconds({ firstTokenMs, sentMs }: RequestRecord): number {
  return (firstTokenMs! - sentMs) / 1000;
}

/** To the last event with a choice: what comes behind it is not part of vLLM's latency. */
function latencySeconds({ lastTokenMs, sentMs }: RequestRecord): number {
  return (lastTokenMs! - sentMs) / 1000;
}

function gapSeconds({ chunkMs }: RequestRecord): number[] {
  return chunkMs.slice(1).map((ms, i) => (ms - chunkMs[i]!) / 1000);
}

/** Milliseconds of a metric, one value a request; of ITL one a gap. */
function valuesOf(metric: VllmMetric, good: readonly RequestRecord[]): number[] {
  const seconds = good.flatMap((request) => {
    if (metric === "ttft") return [ttftSeconds(request)];
    if (metric === "e2el") return [latencySeconds(request)];
    if (metric === "itl") return gapSeconds(request);
    const tokens = tokensOf(request);
    return tokens > 1 ? [(latencySeconds(request) - ttftSeconds(request)) / (tokens - 1)] : [];
  });
  return seconds.map((value) => 1000 * value);
}

/** With numpy's defaults: the standard deviation over n, zeros where there is nothing. */
function summaryOf(metric: VllmMetric, values: readonly number[]): Record<string, number> {
  const sorted = Float64Array.from(values.length === 0 ? [0] : values).sort();
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  const variance = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / sorted.length;
  return {
    [`mean_${metric}_ms`]: mean,
    [`median_${metric}_ms`]: percentile(sorted, 0.5),
    [`std_${metric}_ms`]: Math.sqrt(variance),
    [`p99_${metric}_ms`]: percentile(sorted, 0.99),
  };
}

/** The most chunks that came, and requests that were open, in a whole second after the first send. */
function peaksOf(good: readonly RequestRecord[]): Record<string, number> {
  const startMs = good.reduce((first, { sentMs }) => Math.min(first, sentMs), Number.POSITIVE_INFINITY);
  const [chunks, open] = [new Map<number, number>(), new Map<number, number>()];
  const count = (seconds: Map<number, number>, second: number): void => {
    seconds.set(second, (seconds.get(second) ?? 0) + 1);
  };
  const secondOf = (ms: number): number => Math.floor((ms - startMs) / 1000);
  for (const { chunkMs, sentMs, lastTokenMs } of good) {
    for (const ms of chunkMs) count(chunks, secondOf(ms));
    for (let second = secondOf(sentMs); second <= secondOf(lastTokenMs!); second += 1) count(open, second);
  }
  return {
    max_output_tokens_per_s: Math.max(0, ...chunks.values()),
    max_concurrent_requests: Math.max(0, ...open.values()),
  };
}
