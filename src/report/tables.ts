import { formatBytes, formatDuration } from "../base/units.ts";
import type { BenchStage, Distribution } from "../records/bench.ts";
import type { AccuracyRow, ComparisonRecord, SpeedRow } from "../records/comparison.ts";

/** A table as data; Markdown and HTML draw it. */
export interface ReportTable {
  readonly title: string;
  /** Paragraphs below it: what the figures mean and how they were taken. */
  readonly captions: readonly string[];
  readonly header: readonly string[];
  /** Columns of words; the others hold figures and stand to the right. */
  readonly textColumns: readonly number[];
  readonly rows: readonly (readonly string[])[];
}

/** A p-value below this counts as a difference; above it the difference is undetermined. */
const significance = 0.05;

export function reportTables(record: ComparisonRecord): ReportTable[] {
  return [summaryTable(record), accuracyTable(record.accuracy), ...loadTables(record)];
}

function summaryTable(record: ComparisonRecord): ReportTable {
  const { base, compressed } = record;
  const rows = [
    ["weights", base.weights, compressed.weights, "", ""],
    bytesRow("size on disk", [base.sizeBytes, compressed.sizeBytes], "exact"),
  ];
  if (base.serving !== null && compressed.serving !== null) {
    const [a, b] = [base.serving, compressed.serving];
    rows.push(
      [
        "ready after",
        formatDuration(a.readyMs),
        formatDuration(b.readyMs),
        ratio(b.readyMs, a.readyMs),
        once,
      ],
      bytesRow("peak memory while serving", [a.peakMemoryBytes, b.peakMemoryBytes], once),
      bytesRow("KV cache set aside", [a.memoryPlan?.kvCache, b.memoryPlan?.kvCache], "planned at start"),
    );
  }
  return {
    title: "Size and memory",
    captions: [
      "Ratio = compressed / base. A figure that was measured once has no interval.",
      "Peak memory is the server process's highest resident size. Pages of the KV cache count in it only once a request has touched them, so a longer or busier load raises the peak, up to what is set aside.",
    ],
    header: ["", "base", "compressed", "ratio", "how sure"],
    textColumns: [0, 4],
    rows,
  };
}

const once = "measured once";

type Pair = readonly [base: number | null | undefined, compressed: number | null | undefined];

function bytesRow(label: string, [base, compressed]: Pair, certainty: string): string[] {
  const text = (bytes: number | null | undefined): string => (bytes == null ? "unknown" : formatBytes(bytes));
  return [label, text(base), text(compressed), ratio(compressed, base), certainty];
}

/** Every metric of both models with recovery, interval and verdict. */
export function accuracyTable(rows: readonly AccuracyRow[]): ReportTable {
  return {
    title: "Accuracy",
    captions: [
      "Same documents for both. Recovery = compressed / base (inverted where lower is better) with a 95 % paired bootstrap interval. p is McNemar's exact test on answers that flipped; at 0.05 and above the difference is undetermined.",
    ],
    textColumns: [0, 1, 7],
    header: ["task", "metric", "documents", "base", "compressed", "recovery", "lost / gained", "verdict"],
    rows: rows.map((row) => [
      row.task,
      `${row.metric}\u00a0${row.higherIsBetter ? "↑" : "↓"}`,
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
  const bound = (value: number): string => (100 * value).toFixed(1);
  return `${percent(row.recovery)} (${bound(row.recoveryLow)} to ${bound(row.recoveryHigh)})`;
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
  return [throughputTable(record, pairs), latencyRatioTable(record.speed), latencyTable(pairs)];
}

type StagePair = readonly [BenchStage, BenchStage];

const intervalNote =
  "The interval is 95 % (Welch's t on the logarithms of the stage's slices, each of whole rounds of its users); the verdict claims a difference only where it leaves out 1. It knows the spread inside these runs, not between runs or machines, and each row stands alone: of 20 rows without any difference, one is called different by chance.";

function throughputTable(record: ComparisonRecord, pairs: readonly StagePair[]): ReportTable {
  return {
    title: "Throughput in output tokens per second",
    captions: [
      "Output tokens per second over the whole stage, prefill, ramp and drain included, as the server counts them. Closed loop: N patient users, each sending the next request when its answer is complete.",
      promptNote(record, pairs),
      intervalNote,
    ],
    header: ["in flight", "base", "compressed", "ratio", "95 % interval", "verdict", "requests", "errors"],
    textColumns: [5],
    rows: pairs.map(([a, b]) => {
      const row = record.speed.find(
        (entry) => entry.concurrency === a.concurrency && entry.metric === "outputTokensPerSecond",
      );
      return [
        String(a.concurrency),
        a.outputTokensPerSecond.toFixed(1),
        b.outputTokensPerSecond.toFixed(1),
        ratio(b.outputTokensPerSecond, a.outputTokensPerSecond),
        ...(row === undefined ? ["–", "–"] : [intervalText(row), row.verdict]),
        `${a.numRequests} / ${b.numRequests}`,
        `${a.numErrors} / ${b.numErrors}`,
      ];
    }),
  };
}

/** What was asked of the load, beside what the servers counted. */
function promptNote(record: ComparisonRecord, pairs: readonly StagePair[]): string {
  const workload = record.base.serving?.bench.workload;
  if (workload === undefined) return "";
  const counted = [0, 1].map((side) => {
    const means = pairs.flatMap((pair) => pair[side]!.meanPromptTokens ?? []);
    return means.length === 0
      ? "an unknown number"
      : (means.reduce((a, b) => a + b, 0) / means.length).toFixed(1);
  });
  return `Prompts: ${workload.inputTokens} tokens asked for, ${counted.join(" and ")} counted by the servers of base and compressed; ${workload.outputTokens} output tokens asked for.`;
}

function intervalText(row: SpeedRow): string {
  if (row.ratioLow === null || row.ratioHigh === null) return "–";
  return `${row.ratioLow.toFixed(2)} to ${row.ratioHigh.toFixed(2)}`;
}

const latencyLabels: Readonly<Record<Exclude<SpeedRow["metric"], "outputTokensPerSecond">, string>> = {
  ttftMs: "TTFT",
  tpotMs: "TPOT",
  e2eMs: "end to end",
};

function latencyRatioTable(speed: readonly SpeedRow[]): ReportTable {
  return {
    title: "Mean latency in milliseconds",
    captions: [
      "Means over requests; a ratio below 1 is faster. TPOT is the headline: time per output token after the first. Intervals and verdicts as for the throughput.",
    ],
    textColumns: [1, 6],
    header: ["in flight", "metric", "base", "compressed", "ratio", "95 % interval", "verdict"],
    rows: speed.flatMap((row) => {
      if (row.metric === "outputTokensPerSecond") return [];
      return [
        [
          String(row.concurrency),
          latencyLabels[row.metric],
          milliseconds(row.base),
          milliseconds(row.compressed),
          ratio(row.compressed, row.base),
          intervalText(row),
          row.verdict,
        ],
      ];
    }),
  };
}

function latencyTable(pairs: readonly StagePair[]): ReportTable {
  const metrics = [
    ["TTFT", "ttftMs"],
    ["TPOT", "tpotMs"],
    ["ITL", "itlMs"],
    ["end to end", "e2eMs"],
  ] as const;
  const rows = pairs.flatMap((pair) =>
    metrics.flatMap(([label, key]) =>
      pair.map((stage, side) => [
        String(stage.concurrency),
        `${label}, ${side === 0 ? "base" : "compressed"}`,
        ...distributionCells(stage[key]),
        key === "itlMs" ? (stage.tokensPerArrival?.toFixed(2) ?? "–") : "",
      ]),
    ),
  );
  return {
    title: "Distribution of latency in milliseconds",
    captions: [
      "TTFT = first token − sent. TPOT = (last token − first token) / (output tokens − 1), one value per request. ITL = gaps between arrivals, pooled over requests. * = too few samples to bound this percentile; never used for a verdict.",
      "Tokens that arrive together have one gap among them: where there is more than 1 token per arrival, ITL overstates the time per token and TPOT is the figure to use.",
    ],
    textColumns: [1],
    header: ["in flight", "metric", "mean", "p50", "p90", "p95", "p99", "samples", "tokens per arrival"],
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
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}

function ratio(numerator: number | null | undefined, denominator: number | null | undefined): string {
  if (numerator == null || denominator == null || denominator === 0) return "–";
  return `${(numerator / denominator).toFixed(2)} ×`;
}
