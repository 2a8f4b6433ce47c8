import { z } from "zod";
import { weakPercentiles } from "../../bench/distribution.ts";
import type { Latency, LoadLevel } from "../../records/load-level.ts";
import { type LoadRun, untold } from "./load-run.ts";

const figure = z.number().nonnegative().nullish();
const count = z.number().int().nonnegative();

/** One figure over the requests of a benchmark, or over time. */
const summarySchema = z.looseObject({
  mean: figure,
  median: figure,
  count: count.nullish(),
  percentiles: z.looseObject({ p90: figure, p95: figure, p99: figure }).nullish(),
});
const byOutcome = z.looseObject({ successful: summarySchema.nullish(), total: summarySchema.nullish() });
type ByOutcome = z.infer<typeof byOutcome>;

/** How each of GuideLLM's strategies loads a server. */
const strategies = {
  synchronous: "closed",
  concurrent: "closed",
  throughput: "at-once",
  constant: "open",
  poisson: "open",
  trace: "open",
} as const satisfies Record<string, LoadLevel["kind"]>;

const benchmarkSchema = z.looseObject({
  config: z.looseObject({
    strategy: z.looseObject({
      type_: z.enum(Object.keys(strategies) as (keyof typeof strategies)[]),
      rate: z.number().positive().nullish(),
      streams: z.number().int().positive().nullish(),
    }),
  }),
  metrics: z.looseObject({
    request_totals: z
      .looseObject({
        successful: count,
        incomplete: count.nullish(),
        errored: count.nullish(),
        total: count.nullish(),
      })
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

/** What stands for GuideLLM's version where another tool wrote its form, as ours does. */
const foreignWriter = /^none: (.+)$/;

/** GuideLLM's report as a run. Its ITL is our TPOT; it keeps no gaps between arrivals. */
export function readGuidellm(name: string, report: z.infer<typeof guidellmSchema>): LoadRun {
  const version = report.metadata?.guidellm_version ?? "of unknown version";
  const writer = foreignWriter.exec(version)?.[1];
  const names =
    "its ITL stands under TPOT here, its TPOT (which contains TTFT) is left out, and its gaps between arrivals are not in the file.";
  return {
    name,
    tool: writer === undefined ? `GuideLLM ${version}` : `${writer}, in the form of GuideLLM`,
    levels: report.benchmarks.map(levelOf),
    settings: flatten(report.args ?? report.config ?? {}),
    origin: null,
    notes: [
      writer === undefined
        ? `${name} was measured by GuideLLM ${version}: ${names} Its mean rates count only what ended in the window.`
        : `${name} was measured by ${writer} and is read from what it wrote in the form of GuideLLM: ${names} bench.json of the same load says more.`,
    ],
  };
}

function levelOf({ config: { strategy }, metrics }: Benchmark): LoadLevel {
  const kind = strategies[strategy.type_];
  const users = strategy.type_ === "synchronous" ? 1 : (strategy.streams ?? null);
  const rates = outcomeOf(metrics.requests_per_second);
  const output = outcomeOf(metrics.output_tokens_per_second);
  const { request_totals: totals } = metrics;
  const numSuccessful = totals?.successful ?? outcomeOf(metrics.request_latency)?.count ?? null;
  return {
    kind,
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
    numCensored: totals?.incomplete ?? null,
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
  const numSamples = sampleCount(summary.count ?? null, numRequests);
  return {
    count: numSamples,
    mean: scaled(summary.mean),
    p50: summary.median * factor,
    p90: scaled(summary.percentiles?.p90),
    p95: scaled(summary.percentiles?.p95),
    p99: scaled(summary.percentiles?.p99),
    weak: numSamples === null ? [] : weakPercentiles(numSamples),
  };
}

/** GuideLLM's count of a figure of tokens is that of the tokens; one request gives one sample, however long it was. */
function sampleCount(own: number | null, numRequests: number | null): number | null {
  if (own === null || numRequests === null) return own ?? numRequests;
  return Math.min(own, numRequests);
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
