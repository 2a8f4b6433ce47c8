import { expect, test } from "vitest";
import { madeUpStage } from "../../tests/made-up-stage.ts";
import {
  type AccuracyRow,
  type ComparisonRecord,
  comparisonSchema,
  type SpeedRow,
} from "../records/comparison.ts";
import type { Origin } from "../records/origin.ts";
import { renderHtml } from "./html.ts";
import { renderMarkdown } from "./markdown.ts";
import { verdictOf } from "./verdict.ts";

const origin: Origin = {
  startedAt: "2026-01-01T00:00:30.000Z",
  durationMs: 4000,
  processor: "a <processor>, 2 cores",
  kernels: "native avx2, 2 threads",
  node: "v22.0.0",
  version: "0.1.0",
  build: "0123456789ab",
};

function serving(rates: readonly number[], peakMemoryBytes: number): ComparisonRecord["base"]["serving"] {
  return {
    kind: "serving",
    fingerprint: "f",
    server: "millrace",
    readyMs: 500,
    readyMemoryBytes: peakMemoryBytes / 2,
    peakMemoryBytes,
    memoryPlan: { weights: peakMemoryBytes / 4, kvCache: 2048, activations: 10 },
    bench: {
      kind: "bench",
      origin,
      url: "http://127.0.0.1:1",
      model: "m",
      workload: {
        inputTokens: 128,
        outputTokens: 64,
        promptForm: "token-ids",
        numWords: null,
        seed: 1,
        numWarmup: 2,
        description: "prompts of 128 tokens, answers of 64",
        caches: "cold",
      },
      pricePerHour: null,
      stages: rates.map((rate, index) => madeUpStage(2 ** index, rate)),
      rates: [],
    },
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
  concurrency: 1,
  metric: "outputTokensPerSecond",
  base: 10,
  compressed: 15,
  baseSpread: 0.031,
  compressedSpread: 0.125,
  ratio: 1.5,
  ratioLow: 1.2,
  ratioHigh: 1.875,
  numSlices: [8, 8],
  verdict: "faster",
};

const measured: Omit<ComparisonRecord, "kind" | "verdict"> = {
  version: "0.1.0",
  writtenAt: "2026-03-01T00:00:00.000Z",
  measurements: [
    { part: "quantisation", side: "compressed", ...origin, kernels: null },
    { part: "serving and load", side: "base", ...origin },
    {
      part: "serving and load",
      side: "compressed",
      ...origin,
      startedAt: "2026-02-02T10:20:30.000Z",
      processor: "another",
      build: "ba9876543210",
    },
  ],
  scheme: "w8a8",
  base: { name: "model", weights: "bf16", runAs: null, sizeBytes: 2000, serving: serving([10, 20], 4000) },
  compressed: {
    name: "model w8a8",
    weights: "w8a8",
    runAs: null,
    sizeBytes: 1000,
    serving: serving([15, 40], 3000),
  },
  accuracy: [accuracyRow],
  changed: [],
  unpaired: [],
  speed: [
    throughputRow,
    {
      concurrency: 2,
      metric: "tpotMs",
      base: 10,
      compressed: 10.5,
      baseSpread: 0.04,
      compressedSpread: null,
      ratio: 1.05,
      ratioLow: 0.9,
      ratioHigh: 1.225,
      numSlices: [4, 4],
      verdict: "no difference that this run can show",
    },
  ],
  notes: ["group size 128 | chosen"],
};

const recordOf = (change: Partial<typeof measured> = {}): ComparisonRecord => {
  const changed = { ...measured, ...change };
  return comparisonSchema.parse({ kind: "comparison", verdict: verdictOf(changed), ...changed });
};

test("the Markdown report holds every figure, with spreads, ratios and verdicts", () => {
  const text = renderMarkdown(recordOf());
  expect(text).toContain("| size on disk | 1.95 KiB | 1000 B | 0.50 × | exact |");
  expect(text).toContain(
    "| 1 | 10.0 ± 3.1 % | 15.0 ± 13 % | 1.50 × | 1.20 to 1.88 | faster | 8 / 8 | 0 / 0 |",
  );
  expect(text).toContain("| 2 | 20.0 | 40.0 | 2.00 × | – | – |");
  expect(text).toContain("128 tokens asked for, 12.5 and 12.5 counted");
  expect(text).toContain(
    "| 2 | TPOT | 10.0 ± 4.0 % | 10.5 | 1.05 × | 0.90 to 1.23 | no difference that this run can show |",
  );
  expect(text).toMatch(/\| ITL, base \|.*\| 1\.50 \|/);
  expect(text).toContain(
    "95.0 % (90.0 to 101.0) | −0.0400 (−0.0900 to +0.0100) | 0.080 | 6 | 2 | undetermined (p\u00a0=\u00a00.289)",
  );
  expect(text).toContain("15.0*");
});

test("memory is shown as the process, the weights and the KV pool of both sides", () => {
  const text = renderMarkdown(recordOf());
  const once = "measured once";
  const counted = "counted by the server";
  for (const row of [
    `server process, peak under load | 3.91 KiB | 2.93 KiB | 0.75 × | ${once}`,
    `server process, ready and idle | 1.95 KiB | 1.46 KiB | 0.75 × | ${once}`,
    `weights in memory | 1000 B | 750 B | 0.75 × | ${counted}`,
    `KV cache pool, reserved | 2.00 KiB | 2.00 KiB | 1.00 × | ${counted}`,
  ]) {
    expect(text).toContain(`| ${row} |`);
  }
});

test("the report begins with a verdict of three sentences with numbers", () => {
  const record = recordOf({
    speed: [throughputRow, { ...throughputRow, concurrency: 16, base: 200, compressed: 240, ratioLow: 0.9 }],
  });
  const expected = [
    "Quality: undetermined, any cost is inside the noise of these documents: quiz acc 0.8000 → 0.7600, 95.0 % kept (95 % interval 90.0 to 101.0), 6 answers lost and 2 gained, undetermined.",
    "Size and memory: 1000 B instead of 1.95 KiB (0.50 ×) on disk; 750 B instead of 1000 B (0.75 ×) of weights in memory; 2.93 KiB instead of 3.91 KiB (0.75 ×) for the whole server process at its peak, measured once.",
    "Speed: 15.0 instead of 10.0 output tokens/s with 1 in flight (1.50 ×, 95 % interval 1.20 to 1.88), faster; 240 instead of 200 output tokens/s with 16 in flight (1.20 ×, 95 % interval 0.90 to 1.88), faster.",
  ];
  expect(record.verdict).toEqual(expected);
  const [title, , ...lines] = renderMarkdown(record).split("\n");
  expect(title).toBe("# model: w8a8 against base (bf16)");
  expect(lines.slice(0, 3)).toEqual(expected.map((sentence) => `- ${sentence}`));
  const html = renderHtml(record);
  expect(html.indexOf("any cost is inside the noise")).toBeGreaterThan(html.indexOf("</h1>"));
  expect(html.indexOf("any cost is inside the noise")).toBeLessThan(html.indexOf("<svg"));
});

test("title and verdict say what the base runs as, and that a file became larger", () => {
  const base = { ...measured.base, weights: "GGUF Q4_1", runAs: "bfloat16", sizeBytes: 600 };
  const record = recordOf({ base });
  expect(record.verdict[1]).toContain(
    "1000 B instead of 600 B (1.67 ×) on disk, the base being GGUF Q4_1, so the compressed model is the larger file; 750 B instead of 1000 B (0.75 ×) of weights in memory, the base run as bfloat16;",
  );
  const title = "model: w8a8 against base (GGUF Q4_1 run as bfloat16)";
  expect(renderMarkdown(record)).toContain(`# ${title}\n`);
  expect(renderHtml(record)).toContain(`<h1>${title}</h1>`);
  expect(renderMarkdown(record)).toContain("| weights | GGUF Q4_1 run as bfloat16 | w8a8 |");
});

test("the verdict says where quality is lost, and names no noise as a loss", () => {
  const quality = (accuracy: readonly AccuracyRow[]): string =>
    verdictOf({ ...measured, accuracy: [...accuracy] })[0]!;
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

test("documents without a counterpart are counted in the verdict and named in the table", () => {
  const text = renderMarkdown(
    recordOf({
      unpaired: [{ task: "quiz", onlyBase: [7, 9], onlyCompressed: Array.from({ length: 12 }, (_, i) => i) }],
    }),
  );
  expect(text).toContain("14 documents have no counterpart and count in no figure.");
  expect(text).toContain("quiz: 2 documents are only in the base and count in no figure (doc_id 7, 9).");
  expect(text).toContain(
    "only in the compressed model and count in no figure (doc_id 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more)",
  );
});

test("each part bears its own time, machine and build, and the report's date is only that of the writing", () => {
  const text = renderMarkdown(recordOf());
  expect(text).toContain(
    "Measured between 2026-01-01 00:00 and 2026-02-02 10:20 UTC on a <processor>, 2 cores and another (native avx2, 2 threads) with Millrace 0.1.0, build 0123456789ab and Millrace 0.1.0, build ba9876543210. Written by Millrace 0.1.0 on 2026-03-01 00:00 UTC.",
  );
  expect(text).toContain(
    "| serving and load | compressed | 2026-02-02 10:20:30 | 4.0 s | another | native avx2, 2 threads | 0.1.0 | ba9876543210 | v22.0.0 |",
  );
  expect(text).toContain(
    "| quantisation | compressed | 2026-01-01 00:00:30 | 4.0 s | a <processor>, 2 cores | – |",
  );
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
  const plots = renderHtml(recordOf({ accuracy: [accuracyRow, perplexityRow] })).match(
    /<svg [\s\S]*?<\/svg>/g,
  )!;
  const labels = plots.map((plot) =>
    [...plot.matchAll(/class="label middle"[^>]*>([^<]+)/g)].map(([, text]) => text),
  );
  expect(labels).toEqual([
    ["% of the base, with 95 % interval"],
    ["MiB"],
    ["requests in flight", "output tokens/s"],
    ["requests in flight", "ms per token"],
  ]);
  for (const plot of plots) expect(plot.match(/class="tick /g)!.length).toBeGreaterThanOrEqual(4);
  expect(plots.map((plot) => plot.match(/whisker/g)?.length ?? 0)).toEqual([2, 0, 2, 1]);
});

test("a difference within the noise is never called better or worse", () => {
  const lost = Array.from({ length: 30 }, (_, index) => index);
  const certain = recordOf({
    accuracy: [
      { ...accuracyRow, pValue: 0.01, numFlips: { lost: 30, gained: 2 }, flips: { lost, gained: [40, 41] } },
    ],
  });
  expect(renderMarkdown(certain)).toContain("worse (p\u00a0=\u00a00.01");
  expect(renderMarkdown(recordOf())).not.toMatch(/\| (worse|better) /);
});

test("the page unfolds every answer that changed, with what both said, and escapes it", () => {
  const html = renderHtml(
    recordOf({
      changed: [
        {
          task: "quiz",
          metric: "acc",
          change: "lost",
          docId: 4,
          prompt: "Is 1 < 2?\nAnswer:",
          target: "0",
          choices: [
            { text: " yes", base: -1.25, compressed: -3 },
            { text: " no", base: -2, compressed: -1.5 },
          ],
          written: null,
        },
        {
          task: "gsm",
          metric: "exact_match",
          change: "gained",
          docId: 7,
          prompt: "Q",
          target: "4",
          choices: null,
          written: { base: "<b>5</b>", compressed: "4" },
        },
      ],
    }),
  );
  expect(html).toContain("<summary>quiz acc, right → wrong: 6, the first 1 of them</summary>");
  expect(html).toContain("<pre>Is 1 &lt; 2?\nAnswer:</pre>");
  expect(html).toContain("<td><strong>-1.2500</strong></td><td>-3.0000</td>");
  expect(html).toContain("<td>-2.0000</td><td><strong>-1.5000</strong></td>");
  expect(html).toContain("<pre>&lt;b&gt;5&lt;/b&gt;</pre>");
  expect(html).not.toMatch(/<details[^>]* open|<script|https?:/);
});
