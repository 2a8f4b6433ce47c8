import type { ByFate, GuidellmBenchmark, GuidellmReport, GuidellmStrategy } from "./guidellm-report.ts";
import type { GuidellmDistribution } from "./weighted-distribution.ts";

/** A column: three lines of header, of which equal neighbours are drawn as one, and a cell for each stage. */
interface Column {
  readonly header: readonly [group: string, name: string, statistic: string];
  readonly cells: readonly string[];
}

type Statistic = "Mdn" | "p95" | "Mean";
type Metric = readonly [group: string, name: string, metric: string];

/** What GuideLLM calls them; its ITL is our TPOT. */
const latencies: readonly Metric[] = [
  ["Request Latency", "Sec", "request_latency"],
  ["TTFT", "ms", "time_to_first_token_ms"],
  ["ITL", "ms", "inter_token_latency_ms"],
  ["TPOT", "ms", "time_per_output_token_ms"],
];
const throughputs: readonly Metric[] = [
  ["Requests", "Per Sec", "requests_per_second"],
  ["Requests", "Concurrency", "request_concurrency"],
  ["Input Tokens", "Per Sec", "prompt_tokens_per_second"],
  ["Output Tokens", "Per Sec", "output_tokens_per_second"],
  ["Total Tokens", "Per Sec", "tokens_per_second"],
];

/**
 * GuideLLM's tables of a sweep, as its version 0.5 prints them: one row for each stage, of latency the strategy and four
 * metrics with median and 95th percentile, of throughput five with median and mean.
 */
export function guidellmTables({ benchmarks }: GuidellmReport): string {
  const latency = latencies.flatMap((metric) => columnsOf(benchmarks, metric, "successful", ["Mdn", "p95"]));
  const throughput = throughputs.flatMap((metric) => columnsOf(benchmarks, metric, "total", ["Mdn", "Mean"]));
  const strategy: Column = {
    header: ["Benchmark", "Strategy", ""],
    cells: benchmarks.map(({ config }) => strategyText(config.strategy)),
  };
  return [
    "Request Latency Statistics (Completed Requests)",
    ...table([strategy, ...latency]),
    "",
    "Server Throughput Statistics (All Requests)",
    ...table([strategy, ...throughput]),
  ].join("\n");
}

function columnsOf(
  benchmarks: readonly GuidellmBenchmark[],
  [group, name, metric]: Metric,
  fate: "successful" | "total",
  statistics: readonly Statistic[],
): Column[] {
  return statistics.map((statistic) => ({
    header: [group, name, statistic],
    cells: benchmarks.map(({ metrics }) =>
      figureOf((metrics[metric] as ByFate<GuidellmDistribution>)[fate], statistic).toFixed(1),
    ),
  }));
}

function figureOf({ median, mean, percentiles }: GuidellmDistribution, statistic: Statistic): number {
  if (statistic === "Mdn") return median;
  return statistic === "p95" ? percentiles["p95"]! : mean;
}

function strategyText({ type_: type, streams, rate }: GuidellmStrategy): string {
  if (streams !== undefined) return `${type}@${streams}`;
  return typeof rate === "number" ? `${type}@${rate.toFixed(2)}` : type;
}

function table(columns: readonly Column[]): string[] {
  const widths = columns.map(
    ({ header, cells }) => 2 + Math.max(...[...header, ...cells].map(({ length }) => length)),
  );
  const row = (cells: readonly string[]): string =>
    `|${cells.map((cell, i) => ` ${cell}`.padEnd(widths[i]!)).join("|")}|`;
  const rule = (fill: string): string => `|${widths.map((width) => fill.repeat(width)).join("|")}|`;
  const numRows = columns[0]!.cells.length;
  return [
    rule("="),
    ...[0, 1, 2].map((line) => headerRow(columns, line, widths)),
    rule("-"),
    ...Array.from({ length: numRows }, (_, i) => row(columns.map(({ cells }) => cells[i]!))),
    rule("="),
  ];
}

/** One line of the header; a text that several columns share stands once, over all of them. */
function headerRow(columns: readonly Column[], line: number, widths: readonly number[]): string {
  const isShared = (at: number): boolean =>
    at > 0 && columns[at]!.header.slice(0, line + 1).every((text, i) => text === columns[at - 1]!.header[i]);
  const cells: string[] = [];
  for (let at = 0; at < columns.length; ) {
    let end = at + 1;
    while (end < columns.length && isShared(end)) end += 1;
    const width = widths.slice(at, end).reduce((sum, each) => sum + each, 0);
    // The borders that are left out stand behind, as GuideLLM has them.
    cells.push(` ${columns[at]!.header[line]!}`.padEnd(width) + "|".repeat(end - at - 1));
    at = end;
  }
  return `|${cells.join("|")}|`;
}
