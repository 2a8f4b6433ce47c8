import { formatBytes, formatDuration } from "../base/units.ts";
import type { BenchStage, Distribution } from "../records/bench.ts";
import type { AccuracyRow, ComparisonRecord } from "../records/comparison.ts";

/** A table as data; Markdown and HTML draw it. */
export interface ReportTable {
  readonly title: string;
  /** What the figures mean and how they were taken. */
  readonly caption: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A p-value below this counts as a difference; above it the difference is undetermined. */
const significance = 0.05;

export function reportTables(record: ComparisonRecord): ReportTable[] {
  return [summaryTable(record), accuracyTable(record.accuracy), ...loadTables(record)];
}

function summaryTable(record: ComparisonRecord): ReportTable {
  const { base, compressed } = record;
  const memory = (bytes: number | null | undefined): string =>
    bytes == null ? "unknown" : formatBytes(bytes);
  const rows = [
    ["weights", base.weights, compressed.weights, ""],
    [
      "size on disk",
      formatBytes(base.sizeBytes),
      formatBytes(compressed.sizeBytes),
      ratio(compressed.sizeBytes, base.sizeBytes),
    ],
  ];
  if (base.serving !== null && compressed.serving !== null) {
    const [a, b] = [base.serving, compressed.serving];
    rows.push(
      ["ready after", formatDuration(a.readyMs), formatDuration(b.readyMs), ratio(b.readyMs, a.readyMs)],
      [
        "peak memory while serving",
        memory(a.peakMemoryBytes),
        memory(b.peakMemoryBytes),
        ratio(b.peakMemoryBytes, a.peakMemoryBytes),
      ],
    );
  }
  return {
    title: "Size and memory",
    caption:
      "Ratio = compressed / base. Peak memory is the server process's highest resident size, KV cache included.",
    header: ["", "base", "compressed", "ratio"],
    rows,
  };
}

function accuracyTable(rows: readonly AccuracyRow[]): ReportTable {
  return {
    title: "Accuracy",
    caption:
      "Same documents for both. Recovery = compressed / base (inverted where lower is better) with a 95 % paired bootstrap interval. p is McNemar's exact test on answers that flipped; at 0.05 and above the difference is undetermined.",
    header: ["task", "metric", "documents", "base", "compressed", "recovery", "lost / gained", "verdict"],
    rows: rows.map((row) => [
      row.task,
      `${row.metric} ${row.higherIsBetter ? "↑" : "↓"}`,
      String(row.numDocuments),
      withError(row.base, row.baseStderr),
      withError(row.compressed, row.compressedStderr),
      recoveryText(row),
      row.lost === null ? "–" : `${row.lost} / ${row.gained}`,
      verdictOf(row),
    ]),
  };
}

function withError(value: number, stderr: number | null): string {
  return stderr === null ? value.toPrecision(4) : `${value.toFixed(4)} ± ${stderr.toFixed(4)}`;
}

function recoveryText(row: AccuracyRow): string {
  if (row.recovery === null) return "–";
  const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;
  if (row.recoveryLow === null || row.recoveryHigh === null) return percent(row.recovery);
  return `${percent(row.recovery)} (${percent(row.recoveryLow)} to ${percent(row.recoveryHigh)})`;
}

function verdictOf(row: AccuracyRow): string {
  if (row.pValue !== null) {
    if (row.pValue >= significance) return `undetermined (p = ${row.pValue.toFixed(3)})`;
    const better = (row.gained ?? 0) > (row.lost ?? 0);
    return `${better ? "better" : "worse"} (p = ${row.pValue.toPrecision(2)})`;
  }
  const { recoveryLow: low, recoveryHigh: high } = row;
  if (low === null || high === null) return "too few documents";
  if (high < 1) return "worse";
  return low > 1 ? "better" : "undetermined";
}

function loadTables(record: ComparisonRecord): ReportTable[] {
  const base = record.base.serving?.bench.stages ?? [];
  const compressed = record.compressed.serving?.bench.stages ?? [];
  if (base.length === 0 || compressed.length === 0) return [];
  const pairs = base.flatMap((stage) => {
    const other = compressed.find((candidate) => candidate.concurrency === stage.concurrency);
    return other === undefined ? [] : [[stage, other] as const];
  });
  return [throughputTable(pairs), latencyTable(pairs)];
}

type StagePair = readonly [BenchStage, BenchStage];

function throughputTable(pairs: readonly StagePair[]): ReportTable {
  return {
    title: "Throughput",
    caption:
      "Closed loop: N patient users, each sending the next request when its answer is complete. Tokens per second over the whole stage, prefill, ramp and drain included; tokens as the server counts them.",
    header: [
      "in flight",
      "output tokens/s, base",
      "compressed",
      "ratio",
      "total tokens/s, base",
      "compressed",
      "errors",
    ],
    rows: pairs.map(([a, b]) => [
      String(a.concurrency),
      a.outputTokensPerSecond.toFixed(1),
      b.outputTokensPerSecond.toFixed(1),
      ratio(b.outputTokensPerSecond, a.outputTokensPerSecond),
      a.totalTokensPerSecond.toFixed(1),
      b.totalTokensPerSecond.toFixed(1),
      `${a.numErrors} / ${b.numErrors}`,
    ]),
  };
}

function latencyTable(pairs: readonly StagePair[]): ReportTable {
  const metrics = [
    ["TTFT", "ttftMs"],
    ["ITL", "itlMs"],
    ["TPOT", "tpotMs"],
    ["end to end", "e2eMs"],
  ] as const;
  const rows = pairs.flatMap((pair) =>
    metrics.flatMap(([label, key]) =>
      pair.map((stage, side) => [
        side === 0 ? String(stage.concurrency) : "",
        `${label}, ${side === 0 ? "base" : "compressed"}`,
        ...distributionCells(stage[key]),
      ]),
    ),
  );
  return {
    title: "Latency in milliseconds",
    caption:
      "TTFT = first token − sent. ITL = gaps between stream events, pooled over requests. TPOT = (last token − first token) / (output tokens − 1), one value per request. * = too few samples to bound this percentile; never used for a verdict.",
    header: ["in flight", "metric", "mean", "p50", "p90", "p95", "p99", "samples"],
    rows,
  };
}

function distributionCells(distribution: Distribution | null): string[] {
  if (distribution === null) return ["–", "–", "–", "–", "–", "0"];
  const cell = (name: "p90" | "p95" | "p99"): string =>
    `${milliseconds(distribution[name])}${distribution.weak.includes(name) ? "*" : ""}`;
  return [
    milliseconds(distribution.mean),
    milliseconds(distribution.p50),
    cell("p90"),
    cell("p95"),
    cell("p99"),
    String(distribution.count),
  ];
}

function milliseconds(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}

function ratio(numerator: number | null | undefined, denominator: number | null | undefined): string {
  if (numerator == null || denominator == null || denominator === 0) return "–";
  return `${(numerator / denominator).toFixed(2)} ×`;
}
