import { expect, test } from "vitest";
import type { BenchStage } from "../records/bench.ts";
import { type ComparisonRecord, comparisonSchema } from "../records/comparison.ts";
import { renderHtml } from "./html.ts";
import { renderMarkdown } from "./markdown.ts";

function stage(concurrency: number, rate: number): BenchStage {
  const distribution = {
    count: 20,
    mean: 10,
    p50: 9,
    p90: 12,
    p95: 13,
    p99: 15,
    max: 16,
    weak: ["p90", "p95", "p99"],
  };
  return {
    concurrency,
    numRequests: 8,
    numErrors: 0,
    firstError: null,
    durationMs: 1000,
    promptTokens: 100,
    meanPromptTokens: 12.5,
    outputTokens: rate,
    outputTokensPerSecond: rate,
    totalTokensPerSecond: rate + 100,
    requestsPerSecond: 8,
    ttftMs: distribution,
    itlMs: distribution,
    tpotMs: distribution,
    tokensPerArrival: 1.5,
    e2eMs: null,
    clientCpuShare: 0.1,
    slices: [],
  } as BenchStage;
}

function serving(rates: readonly number[], peakMemoryBytes: number): ComparisonRecord["base"]["serving"] {
  return {
    kind: "serving",
    fingerprint: "f",
    server: "millrace",
    readyMs: 500,
    peakMemoryBytes,
    memoryPlan: { weights: 1000, kvCache: 2048, activations: 10 },
    bench: {
      kind: "bench",
      version: "0",
      startedAt: "2026-01-01T00:00:00.000Z",
      url: "http://127.0.0.1:1",
      model: "m",
      machine: "test",
      workload: {
        inputTokens: 128,
        outputTokens: 64,
        promptForm: "token-ids",
        numWords: null,
        seed: 1,
        numWarmup: 2,
      },
      stages: rates.map((rate, index) => stage(2 ** index, rate)),
    },
  };
}

const record: ComparisonRecord = {
  kind: "comparison",
  version: "0.1.0",
  createdAt: "2026-01-01T00:00:00.000Z",
  machine: "a <machine>",
  scheme: "w8a8",
  base: { name: "model", weights: "bf16", sizeBytes: 2000, serving: serving([10, 20], 4000) },
  compressed: { name: "model w8a8", weights: "w8a8", sizeBytes: 1000, serving: serving([15, 40], 3000) },
  accuracy: [
    {
      task: "quiz",
      metric: "acc",
      higherIsBetter: true,
      numDocuments: 100,
      base: 0.8,
      baseStderr: 0.04,
      compressed: 0.76,
      compressedStderr: 0.043,
      recovery: 0.95,
      recoveryLow: 0.9,
      recoveryHigh: 1.01,
      lost: 6,
      gained: 2,
      pValue: 0.289,
    },
  ],
  speed: [
    {
      concurrency: 1,
      metric: "outputTokensPerSecond",
      base: 10,
      compressed: 15,
      ratio: 1.5,
      ratioLow: 1.2,
      ratioHigh: 1.875,
      numSlices: [8, 8],
      verdict: "faster",
    },
    {
      concurrency: 2,
      metric: "tpotMs",
      base: 10,
      compressed: 10.5,
      ratio: 1.05,
      ratioLow: 0.9,
      ratioHigh: 1.225,
      numSlices: [4, 4],
      verdict: "no difference that this run can show",
    },
  ],
  notes: ["group size 128 | chosen"],
};

test("the Markdown report holds every figure, with ratios and verdicts", () => {
  const text = renderMarkdown(comparisonSchema.parse(record));
  expect(text).toContain("| size on disk | 1.95 KiB | 1000 B | 0.50 × | exact |");
  expect(text).toContain("| peak memory while serving | 3.91 KiB | 2.93 KiB | 0.75 × | measured once |");
  expect(text).toContain("| KV cache set aside | 2.00 KiB | 2.00 KiB | 1.00 × | planned at start |");
  expect(text).toContain("| 1 | 10.0 | 15.0 | 1.50 × | 1.20 to 1.88 | faster | 8 / 8 | 0 / 0 |");
  expect(text).toContain("| 2 | 20.0 | 40.0 | 2.00 × | – | – |");
  expect(text).toContain("128 tokens asked for, 12.5 and 12.5 counted");
  expect(text).toContain(
    "| 2 | TPOT | 10.0 | 10.5 | 1.05 × | 0.90 to 1.23 | no difference that this run can show |",
  );
  expect(text).toMatch(/\| ITL, base \|.*\| 1\.50 \|/);
  expect(text).toContain("95.0 % (90.0 to 101.0) | 6 / 2 | undetermined (p = 0.289)");
  expect(text).toContain("15.0*");
});

test("the HTML report escapes texts, has the plots and needs nothing from outside", () => {
  const html = renderHtml(record);
  expect(html).toContain("a &lt;machine&gt;");
  expect(html).toContain("no difference that this run can show");
  expect(html.match(/<svg /g)?.length).toBeGreaterThanOrEqual(5);
  expect(html).not.toMatch(/(src|href)=|url\(|@import/);
});

test("a difference within the noise is never called better or worse", () => {
  const row = record.accuracy[0]!;
  const certain = { ...record, accuracy: [{ ...row, pValue: 0.01, lost: 30, gained: 10 }] };
  expect(renderMarkdown(certain)).toContain("worse (p = 0.01");
  expect(renderMarkdown(record)).not.toMatch(/\| (worse|better) /);
});
