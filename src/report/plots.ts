import type { ComparisonRecord, SpeedRow, Variant } from "../records/comparison.ts";
import { type LoadLevel, levelName, loadOf } from "../records/load-level.ts";
import { headlineRows, recoveryOf } from "./recovery.ts";
import { renderBars, renderIntervals } from "./row-plots.ts";
import { type PlotPoint, renderXyPlot, type Series, type XyPlot } from "./xy-plot.ts";

const mebibyte = 1024 ** 2;

/** A figure of the report, with a name for its file. */
export interface ReportPlot {
  readonly name: string;
  readonly svg: string;
}

/** The report's figures: quality, size and memory, speed over load, throughput against latency, distributions, time. */
export function reportPlots(record: ComparisonRecord): ReportPlot[] {
  const plots: readonly (readonly [string, string | null])[] = [
    ["quality", qualityPlot(record)],
    ["size", sizePlot(record)],
    ["pareto", paretoPlot(record)],
    [
      "throughput",
      overLoad(record, {
        metric: "outputTokensPerSecond",
        title: "Throughput (more is better)",
        yLabel: "output tokens/s",
      }),
    ],
    [
      "ttft",
      overLoad(record, {
        metric: "ttftMs",
        title: "Mean time to first token, TTFT (less is better)",
        yLabel: "ms",
      }),
    ],
    [
      "tpot",
      overLoad(record, {
        metric: "tpotMs",
        title: "Mean time per output token, TPOT (less is better)",
        yLabel: "ms per token",
      }),
    ],
    [
      "end-to-end",
      overLoad(record, { metric: "e2eMs", title: "Mean end-to-end time (less is better)", yLabel: "ms" }),
    ],
    ...distributionPlots(record),
    ["timeline", timelinePlot(record)],
  ];
  return plots.flatMap(([name, svg]) => (svg === null ? [] : [{ name, svg }]));
}

/** Recovery of every headline row that counts in the whole, with its interval, against 100 %. */
function qualityPlot({ pairs, variants }: ComparisonRecord): string | null {
  // A share of next to nothing would press all others to one point.
  const leftOut = new Set(pairs.flatMap(({ accuracy }) => recoveryOf(accuracy)?.leftOut ?? []));
  const rows = pairs.flatMap(({ variant, accuracy }) =>
    headlineRows(accuracy).flatMap(({ task, metric, recovery, recoveryLow: low, recoveryHigh: high }) => {
      if (recovery === null || leftOut.has(task)) return [];
      const interval = low === null || high === null ? null : ([100 * low, 100 * high] as const);
      const label = pairs.length === 1 ? [task, metric] : [task, variant];
      const index = variants.findIndex(({ name }) => name === variant);
      return [{ label, index, value: 100 * recovery, interval }];
    }),
  );
  if (rows.length === 0) return null;
  const [first] = leftOut;
  const without =
    leftOut.size === 0 ? "" : ` without ${leftOut.size === 1 ? first : `${leftOut.size} tasks`}`;
  const title = `Quality kept${without} (more is better)`;
  return renderIntervals(
    { title, xLabel: "% of the base, with 95 % interval", mark: 100 },
    rows.toSorted((a, b) => a.label[0]!.localeCompare(b.label[0]!)),
  );
}

function sizePlot({ variants }: ComparisonRecord): string | null {
  const row = (label: string, of: (variant: Variant) => number | null | undefined) => ({
    label,
    values: variants.map((variant) => {
      const bytes = of(variant);
      return bytes == null ? null : bytes / mebibyte;
    }),
  });
  const rows = [
    row("size on disk", ({ sizeBytes }) => sizeBytes),
    row("weights in memory", ({ serving }) => serving?.memoryPlan?.weights),
    row("process, ready", ({ serving }) => serving?.readyMemoryBytes),
    row("process, peak", ({ serving }) => serving?.peakMemoryBytes),
  ].filter(({ values }) => values.some((value) => value !== null));
  if (rows.length === 0) return null;
  const names = variants.map(({ name }) => name);
  return renderBars({ title: "Size and memory (less is better)", xLabel: "MiB", names }, rows);
}

interface OverLoad {
  readonly metric: SpeedRow["metric"];
  readonly title: string;
  readonly yLabel: string;
}

function overLoad(record: ComparisonRecord, { metric, title, yLabel }: OverLoad): string | null {
  return plotOf(
    record,
    (level) => {
      const y =
        metric === "outputTokensPerSecond"
          ? level.outputTokensPerSecond
          : (level[metric]?.mean ?? level[metric]?.p50);
      if (y === undefined || level.kind === "at-once") return null;
      const spread = level.spread[metric];
      // The interval is even on the logarithm.
      const interval = spread === null ? null : ([y / (1 + spread), y * (1 + spread)] as const);
      return { x: loadOf(level), y, interval, label: levelName(level) };
    },
    {
      title,
      yLabel,
      xLabel: "requests in flight",
      xScale: isOpen(record) ? "linear" : "rank",
      hasDots: true,
    },
  );
}

function isOpen({ variants }: ComparisonRecord): boolean {
  return variants.some(({ levels }) => levels.some(({ kind }) => kind === "open"));
}

/** What a user gets against what the machine gives: up and to the left is better. */
function paretoPlot(record: ComparisonRecord): string | null {
  return plotOf(
    record,
    (level) =>
      level.tpotMs === null
        ? null
        : { x: level.tpotMs.p50, y: level.outputTokensPerSecond, interval: null, label: levelName(level) },
    {
      title: "Throughput against latency (up and left is better)",
      xLabel: "TPOT p50, ms per token",
      yLabel: "output tokens/s",
      xScale: "linear",
      hasDots: true,
    },
  );
}

type PlotTexts = Omit<XyPlot, "series">;

function plotOf(
  { variants }: ComparisonRecord,
  pointOf: (level: LoadLevel) => PlotPoint | null,
  texts: PlotTexts,
): string | null {
  const series = variants.map(
    (variant, index): Series => ({
      name: variant.name,
      index,
      points: variant.levels
        .toSorted((a, b) => loadOf(a) - loadOf(b))
        .map(pointOf)
        .filter((point) => point !== null),
    }),
  );
  const shown = series.filter(({ points }) => points.length > 0);
  return shown.length === 0 ? null : renderXyPlot({ ...texts, series: shown });
}

/** Cumulative distributions at the greatest load that every variant with single requests was given. */
function distributionPlots(record: ComparisonRecord): [string, string | null][] {
  const having = record.variants.filter(({ levels }) => levels.some(({ quantiles }) => quantiles !== null));
  const common = (having[0]?.levels ?? []).filter((level) =>
    having.every(({ levels }) =>
      levels.some((each) => levelName(each) === levelName(level) && each.quantiles !== null),
    ),
  );
  const last = common.at(-1);
  if (last === undefined) return [];
  const name = levelName(last);
  const metrics = [
    ["ttftMs", "TTFT"],
    ["tpotMs", "TPOT"],
    ["e2eMs", "end-to-end time"],
  ] as const;
  return metrics.map(([metric, title]) => {
    const series = record.variants.flatMap((variant, index): Series[] => {
      const quantiles = variant.levels.find((each) => levelName(each) === name)?.quantiles?.[metric] ?? [];
      const points = quantiles.map((x, step) => ({
        x,
        y: (100 * step) / (quantiles.length - 1),
        interval: null,
      }));
      return points.length === 0 ? [] : [{ name: variant.name, index, points }];
    });
    const texts = { title: `Distribution of ${title}, ${name}`, xLabel: "ms", yLabel: "% of requests" };
    return [
      `cdf-${metric}`,
      series.length === 0 ? null : renderXyPlot({ ...texts, series, xScale: "linear", hasDots: false }),
    ];
  });
}

/** Output tokens per second over the time of the greatest load that was followed, in its first round. */
function timelinePlot(record: ComparisonRecord): string | null {
  const series = record.variants.flatMap((variant, index): Series[] => {
    const timeline = variant.levels.findLast((level) => level.timeline !== null)?.timeline ?? [];
    const points = timeline.map(({ atMs, outputTokensPerSecond: y }) => ({
      x: atMs / 1000,
      y,
      interval: null,
    }));
    return points.length < 2 ? [] : [{ name: variant.name, index, points }];
  });
  if (series.length === 0) return null;
  const texts = {
    title: "Throughput over the greatest load, first round",
    xLabel: "seconds",
    yLabel: "output tokens/s",
  };
  return renderXyPlot({ ...texts, series, xScale: "linear", hasDots: false });
}
