import { expect, test } from "vitest";
import { madeUpLevel, madeUpVariant, roundAt } from "../../tests/made-up-comparison.ts";
import {
  type AccuracyRow,
  type ComparisonRecord,
  comparisonSchema,
  type Pair,
  type ServingFacts,
  type SpeedRow,
  type Variant,
} from "../records/comparison.ts";
import type { LoadLevel } from "../records/load-level.ts";
import type { Origin } from "../records/origin.ts";
import { renderCsv } from "./csv.ts";
import { renderHtml } from "./html.ts";
import { renderMarkdown } from "./markdown.ts";
import { reportPlots } from "./plots.ts";
import { recoveryOf } from "./recovery.ts";
import { renderSvgFiles } from "./svg-files.ts";
import { pairVerdict } from "./verdict.ts";

function level(concurrency: number, rate: number, spread: Partial<LoadLevel["spread"]> = {}): LoadLevel {
  const latency = { count: 20, mean: 10, p50: 9, p90: 12, p95: 13, p99: 15, weak: ["p90" as const] };
  return madeUpLevel({
    asked: concurrency,
    inFlight: concurrency,
    outputTokensPerSecond: rate,
    ttftMs: latency,
    tpotMs: latency,
    itlMs: latency,
    rounds: [rate - 1, rate + 1].map(roundAt),
    spread: { outputTokensPerSecond: null, ttftMs: null, tpotMs: null, e2eMs: null, ...spread },
    quantiles: { ttftMs: [1, 2, 3], tpotMs: [1, 2, 4], e2eMs: [] },
  });
}

const origin: Origin = {
  startedAt: "2026-01-01T00:00:30.000Z",
  durationMs: 4000,
  processor: "a <processor>, 2 cores",
  kernels: "native avx2, 2 threads",
  node: "v22.0.0",
  version: "0.1.0",
  build: "0123456789ab",
};

function serving(peakMemoryBytes: number): ServingFacts {
  return {
    readyMs: 500,
    readyMemoryBytes: peakMemoryBytes / 2,
    peakMemoryBytes,
    memoryPlan: { weights: peakMemoryBytes / 4, kvCache: 2048, activations: 10 },
    numRounds: 2,
  };
}

const accuracyRow: AccuracyRow = {
  task: "quiz",
  parent: null,
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
  difference: -0.04,
  differenceLow: -0.09,
  differenceHigh: 0.01,
  detectable: 0.08,
  numFlips: { lost: 6, gained: 2 },
  flips: { lost: [1, 2, 3, 4, 5, 6], gained: [7, 8] },
  pValue: 0.289,
};

const perplexityRow: AccuracyRow = {
  ...accuracyRow,
  task: "text",
  metric: "word_perplexity",
  higherIsBetter: false,
  base: 25,
  compressed: 26,
  recovery: 0.9615,
  recoveryLow: 0.95,
  recoveryHigh: 0.97,
  difference: 1,
  differenceLow: 0.8,
  differenceHigh: 1.3,
  detectable: 0.4,
  numFlips: null,
  flips: null,
  pValue: null,
};

const throughputRow: SpeedRow = {
  level: "1 in flight",
  metric: "outputTokensPerSecond",
  base: 10,
  compressed: 15,
  ratio: 1.5,
  ratioLow: 1.2,
  ratioHigh: 1.875,
  numSlices: [8, 8],
  numPairedRounds: null,
  verdict: "faster",
};

const tpotRow: SpeedRow = {
  level: "2 in flight",
  metric: "tpotMs",
  base: 10,
  compressed: 10.5,
  ratio: 1.05,
  ratioLow: 0.9,
  ratioHigh: 1.225,
  numSlices: [4, 4],
  numPairedRounds: null,
  verdict: "no difference that this run can show",
};

const base = madeUpVariant("base", {
  weights: "bf16",
  sizeBytes: 2000,
  engine: "millrace 0.1.0",
  serving: serving(4000),
  levels: [level(1, 10, { outputTokensPerSecond: 0.031 }), level(2, 20, { tpotMs: 0.04 })],
});
const compressed = madeUpVariant("w8a8", {
  weights: "w8a8",
  sizeBytes: 1000,
  engine: "millrace 0.1.0",
  serving: serving(3000),
  levels: [level(1, 15, { outputTokensPerSecond: 0.125 }), level(2, 40, { outputTokensPerSecond: 0.05 })],
});

interface Change {
  readonly base?: Partial<Variant>;
  readonly pair?: Partial<Pair>;
  readonly others?: readonly Variant[];
}

function recordOf(change: Change = {}): ComparisonRecord {
  const first = { ...base, ...change.base };
  const pair = {
    variant: "w8a8",
    accuracy: [accuracyRow],
    changed: [],
    unpaired: [],
    speed: [throughputRow, tpotRow],
    ...change.pair,
  };
  return comparisonSchema.parse({
    kind: "comparison",
    title: "model: w8a8 against the model as it is",
    recommendation: { variant: "w8a8", text: "w8a8: 1.5× the throughput; use it." },
    version: "0.1.0",
    writtenAt: "2026-03-01T00:00:00.000Z",
    measurements: [
      { part: "quantisation", variant: "w8a8", ...origin, kernels: null },
      { part: "serving and load", variant: "base", ...origin },
      {
        part: "serving and load",
        variant: "w8a8",
        ...origin,
        startedAt: "2026-02-02T10:20:30.000Z",
        processor: "another",
        build: "ba9876543210",
      },
    ],
    variants: [first, compressed, ...(change.others ?? [])],
    pairs: [{ ...pair, verdict: pairVerdict(first, compressed, pair) }],
    load: {
      slo: [],
      equalConcurrency: { rows: [] },
      equalRate: { rows: [] },
      equalLoad: null,
      degradation: [null, null],
      concurrency: [0, 1].map(() => ({ kvCapacity: null, withinSlo: null, lastLevel: null })),
      violations: [[], []],
    },
    pricePerHour: null,
    differences: [{ setting: "flags", values: ["--dtype auto", null] }],
    notes: ["group size 128 | chosen"],
  });
}

test("the Markdown report begins with the recommendation and holds every figure, with spreads, ratios and verdicts", () => {
  const text = renderMarkdown(recordOf());
  expect(text.split("\n").slice(0, 3)).toEqual([
    "# model: w8a8 against the model as it is",
    "",
    "**w8a8: 1.5× the throughput; use it.**",
  ]);
  for (const row of [
    "size on disk | 1.95 KiB | 1000 B (0.50 ×)",
    "server process, peak under load | 3.91 KiB | 2.93 KiB (0.75 ×)",
    "server process, ready and idle | 1.95 KiB | 1.46 KiB (0.75 ×)",
    "weights in memory | 1000 B | 750 B (0.75 ×)",
    "KV cache pool, reserved | 2.00 KiB | 2.00 KiB (1.00 ×)",
    "1 in flight | base | 10.0 ± 3.1 % | 9.0, 11.0 | – | – | – | 8 | 0",
    "1 in flight | w8a8 | 15.0 ± 13 % | 14.0, 16.0 | 1.50 × | 1.20 to 1.88 | faster | 8 | 0",
    "2 in flight | w8a8 | 40.0 ± 5.0 % | 39.0, 41.0 | – | – | – | 8 | 0",
    "2 in flight | TPOT | w8a8 | 10.0 ± 4.0 % | 10.5 | 1.05 × | 0.90 to 1.23 | no difference that this run can show",
    "TTFT | 1 in flight | base | 10.0 | 9.00 | 12.0* | 13.0 | 15.0 | 20",
    "flags | --dtype auto | –",
  ]) {
    expect(text).toContain(`| ${row} |`);
  }
  expect(text).toContain(
    "95.0 % (90.0 to 101.0) | −0.0400 (−0.0900 to +0.0100) | 0.080 | 6 | 2 | undetermined (p\u00a0=\u00a00.289)",
  );
});

test("each variant has three sentences with numbers", () => {
  const later = { ...throughputRow, level: "16 in flight", base: 200, compressed: 240, ratioLow: 0.9 };
  const { pairs } = recordOf({ pair: { speed: [throughputRow, later] } });
  expect(pairs[0]!.verdict).toEqual([
    "Quality: undetermined, any cost is inside the noise of these documents: quiz acc 0.8000 → 0.7600, 95.0 % kept (95 % interval 90.0 to 101.0), 6 answers lost and 2 gained, undetermined.",
    "Size and memory: 1000 B instead of 1.95 KiB (0.50 ×) on disk; 750 B instead of 1000 B (0.75 ×) of weights in memory; 2.93 KiB instead of 3.91 KiB (0.75 ×) for the whole server process at its peak, of which the KV cache that this load has touched is a part.",
    "Speed: 15.0 instead of 10.0 output tokens/s with 1 in flight (1.50 ×, 95 % interval 1.20 to 1.88), faster; 240 instead of 200 output tokens/s with 16 in flight (1.20 ×, 95 % interval 0.90 to 1.88), faster.",
  ]);
});

test("the sentences say what the base runs as, and that a file became larger", () => {
  const record = recordOf({ base: { weights: "GGUF Q4_1", runAs: "bfloat16", sizeBytes: 600 } });
  expect(record.pairs[0]!.verdict[1]).toContain(
    "1000 B instead of 600 B (1.67 ×) on disk, the base being GGUF Q4_1, so w8a8 is the larger file; 750 B instead of 1000 B (0.75 ×) of weights in memory, the base run as bfloat16;",
  );
  expect(renderMarkdown(record)).toContain("| weights | GGUF Q4_1 run as bfloat16 | w8a8 |");
});

test("the sentences say where quality is lost, and name no noise as a loss", () => {
  const quality = (accuracy: readonly AccuracyRow[]): string =>
    pairVerdict(base, compressed, { accuracy: [...accuracy], unpaired: [], speed: [] })[0]!;
  expect(quality([accuracyRow, { ...accuracyRow, metric: "acc_norm" }, perplexityRow])).toBe(
    "Quality: the compression costs quality in 1 of 2 tasks: quiz acc 0.8000 → 0.7600, 95.0 % kept (95 % interval 90.0 to 101.0), 6 answers lost and 2 gained, undetermined; text word_perplexity 25.00 → 26.00, 96.2 % kept (95 % interval 95.0 to 97.0), worse.",
  );
  const many = Array.from({ length: 6 }, (_, index) => ({ ...accuracyRow, task: `quiz${index}` }));
  expect(quality([...many, perplexityRow])).toMatch(
    /in 1 of 7 tasks: text word.*, worse; the other 6 undetermined\.$/,
  );
  expect(quality([])).toBe("Quality: not measured.");
  const near = { ...accuracyRow, recoveryLow: 0.992, recoveryHigh: 1.006 };
  expect(quality([near])).toMatch(/^Quality: no difference above 1 % in 1 task: .*, equivalent\.$/);
  const group = { ...accuracyRow, task: "all" };
  const members = many.map((row) => ({ ...row, parent: "all" }));
  expect(quality([group, ...members])).toMatch(
    /inside the noise of these documents: all acc .*, undetermined\.$/,
  );
});

test("the recovery over tasks is the mean, its errors independent; a group speaks for its members", () => {
  const member = { ...accuracyRow, task: "quiz_part", parent: "quiz", recovery: 0 };
  const overall = recoveryOf([accuracyRow, { ...accuracyRow, metric: "acc_norm" }, member, perplexityRow])!;
  expect(overall.share).toBeCloseTo((0.95 + 0.9615) / 2, 12);
  expect(overall.half).toBeCloseTo(Math.hypot(0.055, 0.01) / 2, 12);
  expect(overall.leftOut).toEqual([]);
  expect(recoveryOf([])).toBeNull();
});

test("a task that the base next to never solves says nothing of recovery", () => {
  const rare = { ...accuracyRow, task: "rare", base: 0.02, baseStderr: 0.02, recovery: 7 };
  expect(recoveryOf([accuracyRow, rare])).toEqual({
    share: 0.95,
    half: expect.closeTo(0.055, 9),
    leftOut: ["rare"],
  });
  expect(recoveryOf([rare])).toMatchObject({ share: 7, leftOut: [] });
  const [quality] = reportPlots(recordOf({ pair: { accuracy: [accuracyRow, rare] } }));
  expect(quality).toMatchObject({
    name: "quality",
    svg: expect.stringContaining("Quality kept without rare (more is better)") as string,
  });
  expect(quality!.svg.match(/class="dot /g)).toHaveLength(1);
});

test("the many tasks of a group are folded on the page and stand open in Markdown", () => {
  const members = Array.from({ length: 57 }, (_, i) => ({
    ...accuracyRow,
    task: `part${i}`,
    parent: "quiz",
  }));
  const record = recordOf({ pair: { accuracy: [accuracyRow, ...members] } });
  const page = renderHtml(record);
  expect(page).toMatch(
    /<details><summary>57 rows of single tasks of groups<\/summary>[^]*part56[^]*<\/details>/,
  );
  expect(page.split("<details>")[0]).not.toContain("part0");
  expect(renderMarkdown(record)).toContain("| part56 |");
});

test("documents without a counterpart are counted in the sentences and named in the table", () => {
  const unpaired = [
    { task: "quiz", onlyBase: [7, 9], onlyCompressed: Array.from({ length: 12 }, (_, i) => i) },
  ];
  const text = renderMarkdown(recordOf({ pair: { unpaired } }));
  expect(text).toContain("14 documents have no counterpart and count in no figure.");
  expect(text).toContain("quiz: 2 documents are only in the base and count in no figure (doc_id 7, 9).");
  expect(text).toContain(
    "only in the compressed model and count in no figure (doc_id 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more)",
  );
});

test("each part bears its own time, machine and build, and the report's date is only that of the writing", () => {
  const text = renderMarkdown(recordOf());
  expect(text).toContain(
    "Measured between 2026-01-01 00:00 and 2026-02-02 10:20 UTC on a &lt;processor>, 2 cores and another (native avx2, 2 threads) with Millrace 0.1.0, build 0123456789ab and Millrace 0.1.0, build ba9876543210. Written by Millrace 0.1.0 on 2026-03-01 00:00 UTC.",
  );
  expect(text).toContain(
    "| serving and load | w8a8 | 2026-02-02 10:20:30 | 4.0 s | another | native avx2, 2 threads | 0.1.0 | ba9876543210 | v22.0.0 |",
  );
});

test("what could not be served stands in the report with what happened, and the client's faults beside their rows", () => {
  const failure = { kind: "slow to start", message: "llama.cpp was not ready after 3 s." };
  const late = madeUpVariant("slow", { engine: "llama.cpp", failure });
  const faulty = {
    ...level(4, 50),
    faults: ["requests left 40 ms late (median)"],
    firstError: "HTTP 429: full",
    numErrors: 3,
    errorsByKind: { overloaded: 2, timeout: 1 },
  };
  const text = renderMarkdown(recordOf({ others: [late], base: { levels: [level(1, 10), faulty] } }));
  expect(text).toContain("| slow | llama.cpp | slow to start | llama.cpp was not ready after 3 s. |");
  expect(text).toContain("base, 4 in flight, does not count: requests left 40 ms late (median).");
  expect(text).toContain("base, 4 in flight: 3 errors (2 overloaded, 1 timeout), the first: HTTP 429: full");
});

test("the HTML report escapes texts, has the plots and needs nothing from outside", () => {
  const html = renderHtml(recordOf());
  expect(html).toContain("a &lt;processor&gt;");
  expect(html).toContain("no difference that this run can show");
  expect(html).not.toMatch(/(src|href)=|url\(|@import/);
  // A figure breaks before its interval only.
  expect(html).toContain("<td>95.0\u00a0% (90.0\u00a0to\u00a0101.0)</td>");
});

test("every plot has labelled axes with units, and whiskers where there is an interval", () => {
  const record = recordOf({ pair: { accuracy: [accuracyRow, perplexityRow] } });
  const plots = renderHtml(record).match(/<svg [\s\S]*?<\/svg>/g)!;
  const labels = plots.map((plot) =>
    [...plot.matchAll(/class="label middle"[^>]*>([^<]+)/g)].map(([, text]) => text),
  );
  expect(labels).toEqual([
    ["% of the base, with 95 % interval"],
    ["MiB"],
    ["TPOT p50, ms per token", "output tokens/s"],
    ["requests in flight", "output tokens/s"],
    ["requests in flight", "ms"],
    ["requests in flight", "ms per token"],
    ["ms", "% of requests"],
    ["ms", "% of requests"],
  ]);
  for (const plot of plots) expect(plot.match(/class="tick /g)!.length).toBeGreaterThanOrEqual(4);
  expect(plots.map((plot) => plot.match(/whisker/g)?.length ?? 0)).toEqual([2, 0, 0, 3, 0, 1, 0, 0]);
});

test("figures are files that stand alone, and CSV has a line for each level", () => {
  const record = recordOf({ base: { name: 'with "quotes", commas' } });
  const files = renderSvgFiles(record);
  expect(files.map(({ name }) => name)).toContain("pareto.svg");
  for (const { text } of files) {
    expect(text).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" [^>]*><style>/);
    expect(text).not.toMatch(/(src|href)=|url\(|@import/);
  }
  const lines = renderCsv(record).trimEnd().split("\r\n");
  expect(lines).toHaveLength(5);
  expect(lines[1]).toMatch(/^"with ""quotes"", commas",1 in flight,closed,1,1,2,10,200,8,0,10,9,12,13,15,/);
  expect(new Set(lines.slice(3).map((line) => line.split(",").length))).toEqual(
    new Set([lines[0]!.split(",").length]),
  );
});

test("a difference within the noise is never called better or worse", () => {
  const lost = Array.from({ length: 30 }, (_, index) => index);
  const certain = recordOf({
    pair: {
      accuracy: [
        {
          ...accuracyRow,
          pValue: 0.01,
          numFlips: { lost: 30, gained: 2 },
          flips: { lost, gained: [40, 41] },
        },
      ],
    },
  });
  expect(renderMarkdown(certain)).toContain("worse (p\u00a0=\u00a00.01");
  expect(renderMarkdown(recordOf())).not.toMatch(/\| (worse|better) /);
});
