import type { ComparisonRecord, SpeedRow } from "../records/comparison.ts";
import { type PlotPoint, renderLinePlot } from "./line-plot.ts";
import { type BarRow, renderBars, renderIntervals } from "./row-plots.ts";

const mebibyte = 1024 ** 2;

/** The report's figures as SVG: quality, size and memory, then speed over concurrency. */
export function reportPlots(record: ComparisonRecord): string[] {
  const { speed } = record;
  const inFlight = "requests in flight";
  return [
    qualityPlot(record),
    sizePlot(record),
    speedPlot(speed, "outputTokensPerSecond", {
      title: "Throughput (more is better)",
      xLabel: inFlight,
      yLabel: "output tokens/s",
    }),
    speedPlot(speed, "ttftMs", {
      title: "Mean time to first token, TTFT (less is better)",
      xLabel: inFlight,
      yLabel: "ms",
    }),
    speedPlot(speed, "tpotMs", {
      title: "Mean time per output token, TPOT (less is better)",
      xLabel: inFlight,
      yLabel: "ms per token",
    }),
    speedPlot(speed, "e2eMs", {
      title: "Mean end-to-end time (less is better)",
      xLabel: inFlight,
      yLabel: "ms",
    }),
  ].filter((plot) => plot !== null);
}

/** Recovery of every metric with its interval, against 100 %. */
function qualityPlot({ accuracy }: ComparisonRecord): string | null {
  // A group stands for its members.
  const shown = accuracy.filter(({ parent }) => parent === null);
  const rows = shown.flatMap(({ task, metric, recovery, recoveryLow: low, recoveryHigh: high }) => {
    if (recovery === null) return [];
    const interval = low === null || high === null ? null : ([100 * low, 100 * high] as const);
    return [{ label: [task, metric], value: 100 * recovery, interval }];
  });
  if (rows.length === 0) return null;
  const title = "Quality kept (more is better)";
  return renderIntervals({ title, xLabel: "% of the base, with 95 % interval", mark: 100 }, rows);
}

function sizePlot({ base, compressed }: ComparisonRecord): string {
  const rows: BarRow[] = [];
  const add = (label: string, before: number | null | undefined, after: number | null | undefined): void => {
    if (before != null && after != null)
      rows.push({ label, base: before / mebibyte, compressed: after / mebibyte });
  };
  add("size on disk", base.sizeBytes, compressed.sizeBytes);
  add("weights in memory", base.serving?.memoryPlan?.weights, compressed.serving?.memoryPlan?.weights);
  add("process, ready", base.serving?.readyMemoryBytes, compressed.serving?.readyMemoryBytes);
  add("process, peak", base.serving?.peakMemoryBytes, compressed.serving?.peakMemoryBytes);
  return renderBars({ title: "Size and memory (less is better)", xLabel: "MiB" }, rows);
}

function speedPlot(
  speed: readonly SpeedRow[],
  metric: SpeedRow["metric"],
  texts: { readonly title: string; readonly xLabel: string; readonly yLabel: string },
): string | null {
  const rows = speed.filter((row) => row.metric === metric).toSorted((a, b) => a.concurrency - b.concurrency);
  if (rows.length === 0) return null;
  const point = (x: number, y: number, spread: number | null): PlotPoint => ({
    x,
    y,
    // The interval is even on the logarithm.
    interval: spread === null ? null : [y / (1 + spread), y * (1 + spread)],
  });
  return renderLinePlot({
    ...texts,
    base: rows.map((row) => point(row.concurrency, row.base, row.baseSpread)),
    compressed: rows.map((row) => point(row.concurrency, row.compressed, row.compressedSpread)),
  });
}
