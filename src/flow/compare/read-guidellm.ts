import { z } from "zod";
import { weakPercentiles } from "../../bench/distribution.ts";
import type { Latency, LoadLevel } from "../../records/load-level.ts";
import { type LoadRun, untold } from "./load-run.ts";

/** One figure over the requests of a benchmark, or over time. */
const summarySchema = z.looseObject({
  mean: z.number().nullish(),
  median: z.number().nullish(),
  count: z.number().nullish(),
  percentiles: z
    .looseObject({ p90: z.number().nullish(), p95: z.number().nullish(), p99: z.number().nullish() })
    .nullish(),
});
const byOutcome = z.looseObject({ successful: summarySchema.nullish(), total: summarySchema.nullish() });
type ByOutcome = z.infer<typeof byOutcome>;

const benchmarkSchema = z.looseObject({
  config: z.looseObject({
    strategy: z.looseObject({
      type_: z.string(),
      rate: z.number().nullish(),
      streams: z.number().nullish(),
    }),
  }),
  metrics: z.looseObject({
    request_totals: z
      .looseObject({ successful: z.number(), errored: z.number().nullish(), total: z.number().nullish() })
      .nullish(),
    requests_per_second: byOutcome,
    request_concurrency: byOutcome,
    request_latency: byOutcome,
    time_to_first_token_ms: byOutcome,
    inter_token_latency_ms: byOutcome,
    output_tokens_per_second: byOutcome,
    tokens_per_second: byOutcome,
  }),
});
type Benchmark = z.infer<typeof benchmarkSchema>;

/** What of GuideLLM's report (`benchmarks.json`, versions 0.5 to 0.8) is read. */
export const guidellmSchema = z.looseObject({
  metadata: z.looseObject({ guidellm_version: z.string().nullish() }).nullish(),
  args: z.looseObject({}).nullish(),
  config: z.looseObject({}).nullish(),
  benchmarks: z.array(benchmarkSchema).min(1),
});

/** GuideLLM's report as a run. Its ITL is our TPOT; it keeps no gaps between arrivals. */
export function readGuidellm(name: string, report: z.infer<typeof guidellmSchema>): LoadRun {
  const version = report.metadata?.guidellm_version ?? "of unknown version";
  return {
    name,
    tool: `GuideLLM ${version}`,
    levels: report.benchmarks.map(levelOf),
    settings: flatten(report.args ?? report.config ?? {}),
    origin: null,
    notes: [
      `${name} was measured by GuideLLM ${version}: its ITL stands under TPOT here, its TPOT (which contains TTFT) is left out, and its gaps between arrivals are not in the file. Its mean rates count only what ended in the window.`,
    ],
  };
}

function levelOf({ config: { strategy }, metrics }: Benchmark): LoadLevel {
  const kind =
    { synchronous: "closed", concurrent: "closed", throughput: "at-once" }[strategy.type_] ?? "open";
  const users = strategy.type_ === "synchronous" ? 1 : (strategy.streams ?? null);
  const rates = outcomeOf(metrics.requests_per_second);
  const output = outcomeOf(metrics.output_tokens_per_second);
  const { request_totals: totals } = metrics;
  const numSuccessful = totals?.successful ?? outcomeOf(metrics.request_latency)?.count ?? null;
  return {
    kind: kind as LoadLevel["kind"],
    asked: kind === "closed" ? users : kind === "open" ? (strategy.rate ?? null) : null,
    inFlight: typicalOf(outcomeOf(metrics.request_concurrency)),
    requestsPerSecond: rates?.mean ?? typicalOf(rates),
    outputTokensPerSecond: output?.mean ?? typicalOf(output),
    totalTokensPerSecond: outcomeOf(metrics.tokens_per_second)?.mean ?? null,
    medians: { requestsPerSecond: typicalOf(rates), outputTokensPerSecond: typicalOf(output) },
    ttftMs: latencyOf(metrics.time_to_first_token_ms, 1, numSuccessful),
    tpotMs: latencyOf(metrics.inter_token_latency_ms, 1, numSuccessful),
    itlMs: null,
    e2eMs: latencyOf(metrics.request_latency, 1000, numSuccessful),
    numRequests: totals?.total ?? totals?.successful ?? null,
    numErrors: totals?.errored ?? null,
    ...untold,
  };
}

/** Completed requests where the file tells them apart, as GuideLLM's own tables have it. */
function outcomeOf({ successful, total }: ByOutcome): z.infer<typeof summarySchema> | null {
  return successful ?? total ?? null;
}

function typicalOf(summary: z.infer<typeof summarySchema> | null): number {
  return summary?.median ?? summary?.mean ?? 0;
}

/** @param numRequests the requests behind it; null where the file does not tell */
function latencyOf(figure: ByOutcome, factor: number, numRequests: number | null): Latency | null {
  const summary = outcomeOf(figure);
  if (summary === null || summary.median == null || summary.count === 0) return null;
  const scaled = (value: number | null | undefined): number | null => (value == null ? null : value * factor);
  const count = sampleCount(summary.count ?? null, numRequests);
  return {
    count,
    mean: scaled(summary.mean),
    p50: summary.median * factor,
    p90: scaled(summary.percentiles?.p90),
    p95: scaled(summary.percentiles?.p95),
    p99: scaled(summary.percentiles?.p99),
    weak: count === null ? [] : weakPercentiles(count),
  };
}

/** GuideLLM's count of a figure of tokens is that of the tokens; one request gives one sample, however long it was. */
function sampleCount(count: number | null, numRequests: number | null): number | null {
  if (count === null || numRequests === null) return count ?? numRequests;
  return Math.min(count, numRequests);
}

/** `{ profile: { rate: 3 } }` → `{ "profile.rate": "3" }`. */
function flatten(value: Readonly<Record<string, unknown>>, prefix = ""): Record<string, string> {
  const entries = Object.entries(value).flatMap(([key, each]): [string, string][] =>
    typeof each === "object" && each !== null && !Array.isArray(each)
      ? Object.entries(flatten(each as Record<string, unknown>, `${prefix}${key}.`))
      : [[prefix + key, typeof each === "string" ? each : JSON.stringify(each)]],
  );
  return Object.fromEntries(entries);
}
