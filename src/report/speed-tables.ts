import type { ComparisonRecord, Pair, SpeedRow, Variant } from "../records/comparison.ts";
import { inOrderOfLoad, type Latency, type LoadLevel, levelName } from "../records/load-level.ts";
import { milliseconds, type ReportTable, ratioText } from "./report-table.ts";

/** Throughput of every variant at every load that it was given; null where there was none. */
export function throughputTable({ variants, pairs }: ComparisonRecord): ReportTable | null {
  if (variants.every(({ levels }) => levels.length === 0)) return null;
  const faults = levelNotes(variants, (level) =>
    level.faults.length === 0 ? null : `, does not count: ${level.faults.join(", ")}.`,
  );
  const errors = levelNotes(variants, (level) =>
    level.firstError === null
      ? null
      : `: ${level.numErrors} errors${kindsText(level)}, the first: ${level.firstError}`,
  );
  const isThroughput = (level: LoadLevel, row: SpeedRow): boolean =>
    row.level === levelName(level) && row.metric === "outputTokensPerSecond";
  return {
    title: "Throughput in output tokens per second",
    captions: [
      "Over the whole level, prefill, ramp and drain included, as the server counts tokens. N in flight: N patient users, each sending the next request when its answer is complete.",
      intervalNote,
      ...roundsNotes(pairs),
      ...promptNotes(variants),
      ...faults,
      ...errors,
    ],
    header: [
      "load",
      "",
      "tokens/s",
      "by round",
      "ratio to base",
      "95 % interval",
      "verdict",
      "requests",
      "errors",
    ],
    textColumns: [0, 1, 6],
    rows: byLevel(variants).map(([variant, level]) => {
      const row = pairs
        .find((pair) => pair.variant === variant.name)
        ?.speed.find((each) => isThroughput(level, each));
      return [
        levelName(level),
        variant.name,
        withSpread(level.outputTokensPerSecond.toFixed(1), level.spread.outputTokensPerSecond),
        level.rounds.length < 2
          ? "–"
          : level.rounds.map((round) => round.outputTokensPerSecond.toFixed(1)).join(", "),
        ...(row === undefined
          ? ["–", "–", "–"]
          : [ratioText(row.compressed, row.base), intervalText(row), row.verdict]),
        String(level.numRequests ?? "–"),
        String(level.numErrors ?? "–"),
      ];
    }),
  };
}

/** ` (3 overloaded, 1 timeout)`; nothing where the kinds are not known. */
function kindsText({ errorsByKind }: LoadLevel): string {
  const kinds = Object.entries(errorsByKind).map(([kind, count]) => `${count} ${kind}`);
  return kinds.length === 0 ? "" : ` (${kinds.join(", ")})`;
}

/** A line for each level that there is something to say of. */
function levelNotes(variants: readonly Variant[], noteOf: (level: LoadLevel) => string | null): string[] {
  return variants.flatMap(({ name, levels }) =>
    levels.flatMap((level) => {
      const note = noteOf(level);
      return note === null ? [] : [`${name}, ${levelName(level)}${note}`];
    }),
  );
}

const intervalNote =
  "± is half the 95 % interval of a figure, from the spread of its level's slices, each of whole turns of its users; those at the same place of each round of the test are set beside each other. The interval of a ratio is 95 % and the widest of three: Welch's t on the logarithms of the slices, Student's t on those of the rounds with their variance pooled over levels and variants, and the ratio of every single round; the verdict claims a difference only where it leaves out 1. It knows the spread of these runs, not between machines, and each row stands alone: of 20 rows without any difference, one is called different by chance.";

/** Where paired rounds gave the intervals. */
function roundsNotes(pairs: readonly Pair[]): string[] {
  const counts = pairs.flatMap(({ speed }) => speed.flatMap(({ numPairedRounds }) => numPairedRounds ?? []));
  return [...new Set(counts)].map(
    (count) =>
      `Intervals of the ratios are those of ${count} paired rounds (Student's t; from eight rounds on the studentised block bootstrap, which is never narrower), so that they hold what changes from one start of a server to the next.`,
  );
}

/** What was asked of the load, where the variants say. */
function promptNotes(variants: readonly Variant[]): string[] {
  const told = variants.flatMap(({ settings: { inputTokens, outputTokens } }) =>
    inputTokens === undefined || outputTokens === undefined
      ? []
      : [`Prompts of ${inputTokens} tokens, answers of ${outputTokens} tokens were asked for.`],
  );
  return [...new Set(told)];
}

/** The loads in order, each with every variant that was given it. */
function byLevel(variants: readonly Variant[]): (readonly [Variant, LoadLevel])[] {
  const names = [...new Set(inOrderOfLoad(variants.flatMap(({ levels }) => levels)).map(levelName))];
  return names.flatMap((name) =>
    variants.flatMap((variant) =>
      variant.levels.filter((level) => levelName(level) === name).map((level) => [variant, level] as const),
    ),
  );
}

/** A figure with half its 95 % interval, in per cent of it. */
function withSpread(figure: string, spread: number | null): string {
  if (spread === null) return figure;
  return spread > 1
    ? `${figure} ± over 100 %`
    : `${figure} ± ${(100 * spread).toFixed(spread < 0.1 ? 1 : 0)} %`;
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

/** Mean latencies against the base; null where no load was given to both. */
export function latencyRatioTable({ variants, pairs }: ComparisonRecord): ReportTable | null {
  const spreadOf = (name: string, { level, metric }: SpeedRow): number | null =>
    variants.find((each) => each.name === name)?.levels.find((each) => levelName(each) === level)?.spread[
      metric
    ] ?? null;
  if (pairs.every(({ speed }) => speed.every(({ metric }) => metric === "outputTokensPerSecond")))
    return null;
  return {
    title: "Mean latency in milliseconds",
    captions: [
      "Means over requests; a ratio below 1 is faster. TPOT is the headline: time per output token after the first (GuideLLM calls it ITL). Intervals and verdicts as for the throughput.",
    ],
    textColumns: [0, 1, 2, 7],
    header: ["load", "metric", "", "base", "here", "ratio", "95 % interval", "verdict"],
    rows: pairs.flatMap(({ variant, speed }) =>
      speed.flatMap((row) => {
        if (row.metric === "outputTokensPerSecond") return [];
        return [
          [
            row.level,
            latencyLabels[row.metric],
            variant,
            withSpread(milliseconds(row.base), spreadOf(variants[0]!.name, row)),
            withSpread(milliseconds(row.compressed), spreadOf(variant, row)),
            ratioText(row.compressed, row.base),
            intervalText(row),
            row.verdict,
          ],
        ];
      }),
    ),
  };
}

/** Percentiles of every latency; null where there was no load. */
export function latencyTable(variants: readonly Variant[]): ReportTable | null {
  if (variants.every(({ levels }) => levels.length === 0)) return null;
  const metrics = [
    ["TTFT", "ttftMs"],
    ["TPOT", "tpotMs"],
    ["gap between arrivals", "itlMs"],
    ["end to end", "e2eMs"],
  ] as const;
  const rows = metrics.flatMap(([label, key]) =>
    byLevel(variants).flatMap(([variant, level]) => {
      const latency = level[key];
      return latency === null ? [] : [[label, levelName(level), variant.name, ...latencyCells(latency)]];
    }),
  );
  return {
    title: "Distribution of latency in milliseconds",
    captions: [
      "TTFT = first token − sent. TPOT = (last token − first token) / (output tokens − 1), one value per request: vLLM's TPOT, GuideLLM's ITL. Gap between arrivals, pooled over requests: vLLM's ITL; tokens that arrive together have one gap among them. * = too few samples to bound this percentile; never used for a verdict.",
    ],
    textColumns: [0, 1, 2],
    header: ["metric", "load", "", "mean", "p50", "p90", "p95", "p99", "samples"],
    rows,
  };
}

function latencyCells(latency: Latency): string[] {
  const cell = (name: "mean" | "p50" | "p90" | "p95" | "p99"): string => {
    const value = latency[name];
    if (value === null) return "–";
    return `${milliseconds(value)}${latency.weak.some((weak) => weak === name) ? "*" : ""}`;
  };
  return [cell("mean"), cell("p50"), cell("p90"), cell("p95"), cell("p99"), String(latency.count ?? "–")];
}
