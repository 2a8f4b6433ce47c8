// Against what GuideLLM 0.8.1 itself wrote of one run: its own times go through our figures and must come out as its figures.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { madeUpRequest, stageOf } from "../../../tests/load-stage.ts";
import { repositoryPath } from "../../../tests/test-data.ts";
import type { BenchRecord } from "../../records/bench.ts";
import { guidellmReport } from "./guidellm-report.ts";

interface Distribution {
  readonly mean: number;
  readonly percentiles: Readonly<Record<string, number>>;
  readonly [figure: string]: unknown;
}

interface RecordedRequest {
  readonly prompt_tokens: number;
  readonly output_tokens: number;
  readonly info: { readonly timings: Readonly<Record<string, number>> };
}

interface Report {
  readonly benchmarks: readonly {
    readonly duration: number;
    readonly start_time: number;
    readonly metrics: Readonly<Record<string, { readonly successful: Distribution }>>;
    readonly requests: { readonly successful: readonly RecordedRequest[] };
  }[];
}

const recorded = JSON.parse(
  readFileSync(repositoryPath("tests/golden/recorded/load-dialects/guidellm.json"), "utf8"),
) as Report;
const [benchmark] = recorded.benchmarks as [Report["benchmarks"][0]];

const requests = benchmark.requests.successful.map(({ prompt_tokens, output_tokens, info }, index) => {
  const ms = (name: string): number => 1000 * (info.timings[name]! - benchmark.start_time);
  // What came between the first and the last token is not in the file.
  const numChunks = info.timings["token_iterations"]!;
  const [first, last] = [ms("first_token_iteration"), ms("last_token_iteration")];
  const chunkMs = Array.from({ length: numChunks }, (_, i) => first + ((last - first) * i) / (numChunks - 1));
  const sentMs = ms("request_start");
  const tokens = { promptTokens: prompt_tokens, outputTokens: output_tokens };
  return madeUpRequest({ index, sentMs, chunkMs, endMs: ms("request_end"), ...tokens });
});
const stage = stageOf(requests, { durationMs: 1000 * benchmark.duration, concurrency: 3 });
const record = {
  origin: { startedAt: "2026-11-28T18:26:17.323Z", processor: "a processor", version: "0.0.0" },
  url: "http://127.0.0.1:1",
  model: "scripted",
  workload: { inputTokens: 12, outputTokens: 16, seed: 1 },
} as BenchRecord;
const report = guidellmReport(record, [{ stage, requests }]) as unknown as Report;
const ours = report.benchmarks[0]!.metrics;

test.each([
  "request_latency",
  "time_to_first_token_ms",
  "time_per_output_token_ms",
  "inter_token_latency_ms",
  "prompt_token_count",
  "output_token_count",
  "total_token_count",
])("%s is GuideLLM's own in every figure", (name) => {
  const theirs = benchmark.metrics[name]!.successful;
  const own = ours[name]!.successful;
  for (const figure of ["mean", "median", "variance", "std_dev", "min", "max", "count", "total_sum"])
    expect(own[figure], figure).toBeCloseTo(theirs[figure] as number, 3);
  for (const [percentile, value] of Object.entries(theirs.percentiles))
    expect(own.percentiles[percentile], percentile).toBeCloseTo(value, 3);
});

test("rates and concurrency have GuideLLM's means over the same window", () => {
  for (const name of ["requests_per_second", "output_tokens_per_second", "tokens_per_second"])
    expect(ours[name]!.successful.mean / benchmark.metrics[name]!.successful.mean).toBeCloseTo(1, 2);
  const [own, theirs] = [ours, benchmark.metrics].map((each) => each["request_concurrency"]!.successful);
  expect(own!.mean).toBeCloseTo(theirs!.mean, 1);
  expect(own!.percentiles["p50"]).toBe(theirs!.percentiles["p50"]);
});

test("its fields are GuideLLM's", () => {
  // The recorded report is cut down; GuideLLM 0.8.1 reads no report without these.
  const wanted = ["time_to_last_round_trip_ms", "avg_round_trip_time_ms"];
  wanted.push("output_tokens_per_iteration", "iter_tokens_per_iteration");
  wanted.push("text", "image", "video", "audio", "tool_call");
  expect(Object.keys(ours)).toEqual(expect.arrayContaining(wanted));
  const known = new Set([...Object.keys(benchmark.metrics), ...wanted]);
  expect(Object.keys(ours).filter((name) => !known.has(name))).toEqual([]);
  const requestFields = new Set(Object.keys(benchmark.requests.successful[0]!));
  const own = Object.keys(report.benchmarks[0]!.requests.successful[0]!);
  expect(own.filter((name) => !requestFields.has(name))).toEqual([]);
});
