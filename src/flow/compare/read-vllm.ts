import { z } from "zod";
import { weakPercentiles } from "../../bench/distribution.ts";
import type { Latency, LoadLevel } from "../../records/load-level.ts";
import { joinRepeats } from "./join-levels.ts";
import { atOnceByCount, type LoadRun, requestsAtOnce, untold } from "./load-run.ts";

const rate = z.number().nonnegative();
const count = z.number().int().nonnegative();

/** What of the result file of `vllm bench serve` is read. Percentiles are there as they were asked for. */
export const vllmSchema = z
  .looseObject({
    model_id: z.string(),
    num_prompts: count,
    /** Requests per second; `inf` for all at once, or for as fast as `max_concurrency` lets them. */
    request_rate: z.union([z.number().positive(), z.literal("inf")], {
      error: "it takes a number above 0, or inf",
    }),
    max_concurrency: z.number().int().positive().nullish(),
    duration: z.number().positive(),
    completed: count,
    failed: count.nullish(),
    request_throughput: rate,
    output_throughput: rate,
    total_token_throughput: rate.nullish(),
    /** Who wrote vLLM's form, where it was not vLLM. */
    written_by: z.string().nullish(),
  })
  .superRefine((result, context) => {
    for (const [key, value] of Object.entries(result))
      if (key.endsWith("_ms") && typeof value === "number" && value < 0)
        context.addIssue({ code: "custom", path: [key], message: "it takes a number of at least 0" });
  });
type VllmResult = z.infer<typeof vllmSchema>;

/** Keys that say what was measured, not how. */
const resultKeys =
  /^(written_by|date|duration|completed|failed|total_.*|.*_throughput|request_goodput|input_lens|output_lens|ttfts|itls|start_times|generated_texts|errors|latencies|queue_times|max_output_tokens_per_s|max_concurrent_requests|rtfx|spec_decode_.*|(mean|median|std|p\d+)_.*)$/;

/** A result of `vllm bench serve` as a run with one level. Its TPOT is ours, its ITL our gaps between arrivals. */
export function readVllm(name: string, result: VllmResult): LoadRun {
  const writer = result.written_by;
  const level = levelOf(result);
  const settings = Object.entries(result)
    .filter(([key]) => !resultKeys.test(key))
    .map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]);
  if (level.kind === "at-once") settings.push([requestsAtOnce, String(result.num_prompts)]);
  return {
    name,
    tool: writer == null ? "vllm bench serve" : `${writer}, in the form of vllm bench serve`,
    levels: [level],
    settings: Object.fromEntries(settings) as Record<string, string>,
    origin: null,
    notes: [
      writer == null
        ? `${name} was measured by vllm bench serve: rates are over the whole run, ramp and drain included; requests with one token count 0 in its TPOT.`
        : `${name} was measured by ${writer} and is read from what it wrote in the form of vllm bench serve: rates are over the whole run, ramp and drain included. bench.json of the same load says more.`,
    ],
  };
}

/** The levels of several results of one model, as a sweep writes them, are one run; those of one load are its rounds. */
export function joinVllm(name: string, results: readonly VllmResult[]): LoadRun {
  const runs = results.map((result) => readVllm(name, result));
  const keys = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))];
  const settings = keys.map((key) => {
    const values = runs.flatMap((run) => run.settings[key] ?? []);
    return [key, [...new Set(values)].join(", ")];
  });
  const levels = atOnceByCount(results.map(levelOf));
  return {
    ...runs[0]!,
    levels: joinRepeats(levels.map((level, index) => ({ load: loadOf(results[index]!), level }))),
    settings: Object.fromEntries(settings) as Record<string, string>,
  };
}

/** What results of one load have in common: who asked, how often, and for prompts of how many tokens. */
function loadOf(result: VllmResult): string {
  const { max_concurrency, request_rate, num_prompts } = result;
  return JSON.stringify([
    max_concurrency ?? null,
    request_rate,
    num_prompts,
    result["burstiness"],
    result["total_input_tokens"],
  ]);
}

function levelOf(result: VllmResult): LoadLevel {
  const { max_concurrency: users, request_rate: requestRate, completed } = result;
  const e2eMs = latencyOf(result, "e2el");
  const kind = requestRate !== "inf" ? "open" : users == null ? "at-once" : "closed";
  // Little's law, where the file tells how long requests took; else the seats, which a closed loop fills.
  const inFlight =
    e2eMs?.mean == null ? (users ?? completed) : (result.request_throughput * e2eMs.mean) / 1000;
  return {
    kind,
    asked: requestRate !== "inf" ? requestRate : (users ?? null),
    inFlight,
    requestsPerSecond: result.request_throughput,
    outputTokensPerSecond: result.output_throughput,
    totalTokensPerSecond: result.total_token_throughput ?? null,
    medians: null,
    ttftMs: latencyOf(result, "ttft"),
    tpotMs: latencyOf(result, "tpot"),
    itlMs: latencyOf(result, "itl"),
    e2eMs,
    numRequests: result.num_prompts,
    numErrors: result.failed ?? result.num_prompts - completed,
    numCensored: null,
    ...untold,
  };
}

function latencyOf(result: VllmResult, metric: string): Latency | null {
  const read = (statistic: string): number | null => {
    const value = result[`${statistic}_${metric}_ms`];
    return typeof value === "number" ? value : null;
  };
  const p50 = read("median");
  if (p50 === null || result.completed === 0) return null;
  const numSamples = metric === "itl" ? null : result.completed;
  return {
    count: numSamples,
    mean: read("mean"),
    p50,
    p90: read("p90"),
    p95: read("p95"),
    p99: read("p99"),
    weak: numSamples === null ? [] : weakPercentiles(numSamples),
  };
}
