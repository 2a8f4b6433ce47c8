// Of a report that GuideLLM 0.8.1 wrote itself.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { repositoryPath } from "../../../tests/test-data.ts";
import { guidellmTables } from "./guidellm-console.ts";
import type { ByFate, GuidellmReport } from "./guidellm-report.ts";
import type { GuidellmDistribution } from "./weighted-distribution.ts";

const file = repositoryPath("tests/golden/recorded/load-dialects/guidellm.json");
const report = JSON.parse(readFileSync(file, "utf8")) as GuidellmReport;
const [, latency, throughput] = guidellmTables(report).split(/^.* Statistics .*\n/m) as [
  string,
  string,
  string,
];

/** The cells of the table's lines with figures. */
function rowsOf(table: string): string[][] {
  const lines = table.split("\n");
  const from = lines.findIndex((line) => line.startsWith("|-")) + 1;
  const to = lines.findLastIndex((line) => line.startsWith("|="));
  return lines.slice(from, to).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

test("the tables hold GuideLLM's own figures, a row for each stage", () => {
  const { metrics } = report.benchmarks[0]!;
  const of = (name: string, fate: "successful" | "total"): GuidellmDistribution =>
    (metrics[name] as ByFate<GuidellmDistribution>)[fate];
  const names = ["request_latency", "time_to_first_token_ms", "inter_token_latency_ms"];
  const latencies = [...names, "time_per_output_token_ms"].flatMap((name) => {
    const { median, percentiles } = of(name, "successful");
    return [median, percentiles["p95"]!];
  });
  expect(rowsOf(latency)).toEqual([["concurrent@3", ...latencies.map((value) => value.toFixed(1))]]);
  const rates = ["requests_per_second", "request_concurrency", "prompt_tokens_per_second"];
  const throughputs = [...rates, "output_tokens_per_second", "tokens_per_second"].flatMap((name) => {
    const { median, mean } = of(name, "total");
    return [median, mean];
  });
  expect(rowsOf(throughput)).toEqual([["concurrent@3", ...throughputs.map((value) => value.toFixed(1))]]);
});

test("columns of one metric stand under one heading, and all lines are as long", () => {
  expect(latency.split("\n").slice(1, 4)).toMatchInlineSnapshot(`
    [
      "| Benchmark    | Request Latency                  || TTFT       || ITL      || TPOT       ||",
      "| Strategy     | Sec                              || ms         || ms       || ms         ||",
      "|              | Mdn             | p95             | Mdn  | p95  | Mdn | p95 | Mdn  | p95  |",
    ]
  `);
  for (const table of [latency, throughput])
    expect(
      new Set(
        table
          .trimEnd()
          .split("\n")
          .map(({ length }) => length),
      ).size,
    ).toBe(1);
});

test("a sweep names its stages as GuideLLM does", () => {
  const [only] = report.benchmarks;
  const strategies = [{ type_: "synchronous" }, { type_: "throughput" }, { type_: "constant", rate: 2.5 }];
  const benchmarks = strategies.map((strategy) => ({ ...only!, config: { run_index: 0, strategy } }));
  const [, table] = guidellmTables({ benchmarks }).split(/^.* Statistics .*\n/m);
  expect(rowsOf(table!).map(([name]) => name)).toEqual(["synchronous", "throughput", "constant@2.50"]);
});
