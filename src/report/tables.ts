import { formatBytes, formatDuration } from "../base/units.ts";
import type { BenchStage } from "../records/bench.ts";
import type { ComparisonRecord, SpeedRow } from "../records/comparison.ts";
import type { Distribution } from "../records/load-figures.ts";
import { accuracyTable } from "./accuracy.ts";
import { provenanceTable } from "./provenance.ts";
import { type ReportTable, ratioText, weightsText } from "./report-table.ts";

/** All tables of the report, in order. */
export function reportTables(record: ComparisonRecord): ReportTable[] {
  return [
    sizeTable(record),
    ...(record.accuracy.length === 0 ? [] : [accuracyTable(record.accuracy, record.unpaired)]),
    ...loadTables(record),
    provenanceTable(record.measurements),
  ];
}

function sizeTable(record: ComparisonRecord): ReportTable {
  const { base, compressed } = record;
  const rows = [
    ["weights", weightsText(base), weightsText(compressed), "", ""],
    bytesRow("size on disk", [base.sizeBytes, compressed.sizeBytes], "exact"),
  ];
  if (base.serving !== null && compressed.serving !== null) {
    const [a, b] = [base.serving, compressed.serving];
    const [before, after] = [a.memoryPlan, b.memoryPlan];
    rows.push(
      bytesRow("server process, peak under load", [a.peakMemoryBytes, b.peakMemoryBytes], once),
      bytesRow("server process, ready and idle", [a.readyMemoryBytes, b.readyMemoryBytes], once),
      bytesRow("weights in memory", [before?.weights, after?.weights], counted),
      bytesRow("KV cache pool, reserved", [before?.kvCache, after?.kvCache], counted),
      bytesRow("activation buffers", [before?.activations, after?.activations], counted),
      [
        "ready after",
        formatDuration(a.readyMs),
        formatDuration(b.readyMs),
        ratioText(b.readyMs, a.readyMs),
        once,
      ],
    );
  }
  return {
    title: "Size and memory",
    captions: [
      "Ratio = compressed / base. What was measured once has no interval.",
      "The process is measured from outside: its resident size when it is ready and before the first request, and the highest from its start to the end of the load. Weights, KV cache pool and activation buffers are what the engine allocated, as the server counts; the rest of the process is Node itself and the server's own memory. Pages of the pool count in the process only once a request has touched them, so a longer or busier load raises the peak, up to the whole pool.",
    ],
    header: ["", "base", "compressed", "ratio", "how sure"],
    textColumns: [0, 4],
    rows,
  };
}

const once = "measured once";
const counted = "counted by the server";

type Pair = readonly [base: number | null | undefined, compressed: number | null | undefined];

function bytesRow(label: string, [base, compressed]: Pair, certainty: string): string[] {
  const text = (bytes: number | null | undefined): string => (bytes == null ? "unknown" : formatBytes(bytes));
  return [label, text(base), text(compressed), ratioText(compressed, base), certainty];
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
  "± is half the 95 % interval of a figure, from the spread inside its stage. The interval of the ratio is 95 % (Welch's t on the logarithms of the stage's slices, each of whole rounds of its users); the verdict claims a difference only where it leaves out 1. It knows the spread inside these runs, not between runs or machines, and each row stands alone: of 20 rows without any difference, one is called different by chance.";

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
        withSpread(a.outputTokensPerSecond.toFixed(1), row?.baseSpread),
        withSpread(b.outputTokensPerSecond.toFixed(1), row?.compressedSpread),
        ratioText(b.outputTokensPerSecond, a.outputTokensPerSecond),
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

/** A figure with half its 95 % interval, in per cent of it. */
function withSpread(figure: string, spread: number | null | undefined): string {
  return spread == null ? figure : `${figure} ± ${(100 * spread).toFixed(spread < 0.1 ? 1 : 0)} %`;
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
          withSpread(milliseconds(row.base), row.baseSpread),
          withSpread(milliseconds(row.compressed), row.compressedSpread),
          ratioText(row.compressed, row.base),
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
