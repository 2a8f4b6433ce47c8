import path from "node:path";
import { expect, test } from "vitest";
import { composeComparison } from "../../src/flow/compare/compose-comparison.ts";
import { readRun } from "../../src/flow/compare/read-run.ts";
import { comparisonSchema } from "../../src/records/comparison.ts";
import { parseSlo } from "../../src/records/slo.ts";
import { renderCsv } from "../../src/report/csv.ts";
import { renderHtml } from "../../src/report/html.ts";
import { renderMarkdown } from "../../src/report/markdown.ts";

const runs = ["base", "int8"].map((name) =>
  readRun(path.join(import.meta.dirname, "reference-stages", `${name}.json`)),
);
const record = comparisonSchema.parse(
  composeComparison(
    runs.flatMap(({ subjects }) => subjects),
    {
      title: "base against int8",
      slo: parseSlo("ttft_p95<=200ms"),
      pricePerHour: 3.6,
      notes: runs.flatMap(({ notes }) => notes),
      aim: null,
    },
  ),
);
const { load } = record;

test("the median in flight of the last rate is 34 and 44, as the page has it", () => {
  expect(load.concurrency.map(({ lastLevel }) => lastLevel)).toEqual([34, 44]);
});

test("the stage that breaks the bound is named, with the one above that keeps it; the page's own rule saw neither", () => {
  const [base, int8] = load.concurrency.map(({ withinSlo }) => withinSlo);
  expect(base).toEqual({ inFlight: 34, isLeastBroken: false, brokenAt: null, highestKept: 34 });
  expect(int8).toEqual({ inFlight: 25, isLeastBroken: false, brokenAt: 36, highestKept: 44 });
  expect(load.violations[0]).toEqual([]);
  const bound = "ttft_p95<=200ms";
  expect(load.violations[1]).toEqual([
    // One cold request among fifteen: the 95th percentile of so few is the maximum.
    {
      level: "1 in flight",
      inFlight: 1,
      bound,
      valueMs: 445.7,
      errorShare: null,
      isWeak: true,
      isPassing: true,
    },
    {
      level: "2.3 requests/s",
      inFlight: 36,
      bound,
      valueMs: 959.9,
      errorShare: null,
      isWeak: false,
      isPassing: true,
    },
  ]);
});

test("ITL grows 1.78- and 2.35-fold by the page's rule, by 0.53 and 0.46 ms a request, and 1.78- and 2.04-fold at 34", () => {
  const [base, int8] = load.degradation;
  expect([base!.ratio, int8!.ratio].map((ratio) => ratio.toFixed(2))).toEqual(["1.78", "2.35"]);
  expect([base!.slopeMs, int8!.slopeMs].map((slope) => slope.toFixed(2))).toEqual(["0.53", "0.46"]);
  expect(load.equalLoad).toBe(34);
  expect([base!, int8!].map(({ ratioAtEqualLoad }) => ratioAtEqualLoad!.toFixed(2))).toEqual([
    "1.78",
    "2.04",
  ]);
});

test("at equal rate and at equal concurrency ITL falls by what the stages say; rows between stages are marked", () => {
  const cellsAt = (rows: typeof load.equalRate.rows, at: number) =>
    rows.find((row) => row.at === at)!.cells.map((cell) => [cell!.tpotMs!.toFixed(1), cell!.isInterpolated]);
  const { rows: rates } = load.equalRate;
  expect(cellsAt(rates, 1.7)).toEqual([
    ["39.6", false],
    ["22.7", false],
  ]);
  expect(cellsAt(rates, 1.3)).toEqual([
    ["33.9", false],
    ["20.4", false],
  ]);
  const { rows: users } = load.equalConcurrency;
  expect(cellsAt(users, 10)).toEqual([
    ["27.1", false],
    ["18.8", false],
  ]);
  expect(cellsAt(users, 23)).toEqual([
    ["33.9", false],
    ["24.0", true],
  ]);
  expect(cellsAt(users, 34)).toEqual([
    ["39.6", false],
    ["29.9", true],
  ]);
});

test("the report says all of it, and how the tool's words translate", () => {
  const text = renderMarkdown(record);
  expect(text).toContain("| median in flight of the last level with a rate | 34 | 44 |");
  expect(text).toContain("| base | 1 | 22.2 | 34 | 39.6 | 1.78 | 0.53 | 1.78 |");
  expect(text).toContain("| int8 | 1 | 14.7 | 44 | 34.5 | 2.35 | 0.46 | 2.04 |");
  expect(text).toMatch(
    /\| int8 \| 2\.3 requests\/s \| 36 \| ttft_p95<=200ms \| 960 \| a level with more load keeps it/,
  );
  expect(text).toContain("| 34 | TPOT p50, ms | 39.6 | ~29.9 (−24 %) |");
  expect(text).toContain("| 1.7 requests/s | int8 | 770.0 | 1.30 |");
  expect(text).toContain("its ITL stands under TPOT here");
  const html = renderHtml(record);
  expect(html).not.toMatch(/(src|href)=|url\(|@import|<script/);
  expect(html).toContain("Throughput against latency");
  const lines = renderCsv(record).trimEnd().split("\r\n");
  expect(lines).toHaveLength(21);
  expect(lines[1]).toMatch(/^base,1 in flight,closed,1,1,0\.1,44\.8,137\.4,,,,115\.9,,124\.1/);
});
