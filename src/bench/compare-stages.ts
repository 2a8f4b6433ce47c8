import type { BenchStage } from "../records/bench.ts";
import type { SpeedRow } from "../records/comparison.ts";
import type { StageSlice } from "../records/load-figures.ts";
import { type RatioInterval, ratioInterval, relativeSpread } from "./ratio-interval.ts";

interface SpeedMetric {
  readonly name: SpeedRow["metric"];
  readonly higherIsFaster: boolean;
  /** The stage's figure; null where it has none. */
  readonly ofStage: (stage: BenchStage) => number | null;
}

const metrics: readonly SpeedMetric[] = [
  {
    name: "outputTokensPerSecond",
    higherIsFaster: true,
    ofStage: (stage) => stage.outputTokensPerSecond,
  },
  { name: "ttftMs", higherIsFaster: false, ofStage: (stage) => stage.ttftMs?.mean ?? null },
  { name: "tpotMs", higherIsFaster: false, ofStage: (stage) => stage.tpotMs?.mean ?? null },
  { name: "e2eMs", higherIsFaster: false, ofStage: (stage) => stage.e2eMs?.mean ?? null },
];

/**
 * Throughput and mean latencies of two load tests at every concurrency that both have, each ratio with its 95 %
 * interval and a verdict: a difference is claimed only where the interval leaves out 1.
 */
export function compareStages(base: readonly BenchStage[], compressed: readonly BenchStage[]): SpeedRow[] {
  return base.flatMap((stage) => {
    const other = compressed.find((candidate) => candidate.concurrency === stage.concurrency);
    if (other === undefined) return [];
    return metrics.flatMap((metric) => compareMetric(metric, stage, other) ?? []);
  });
}

function compareMetric(metric: SpeedMetric, base: BenchStage, compressed: BenchStage): SpeedRow | null {
  const [a, b] = [metric.ofStage(base), metric.ofStage(compressed)];
  if (a === null || b === null || a <= 0 || b <= 0) return null;
  const [before, after] = [base, compressed].map(({ slices }) => valuesOf(slices, metric.name));
  const ratio = b / a;
  const interval = ratioInterval(ratio, after!, before!);
  return {
    concurrency: base.concurrency,
    metric: metric.name,
    base: a,
    compressed: b,
    baseSpread: relativeSpread(before!),
    compressedSpread: relativeSpread(after!),
    ratio,
    ratioLow: interval?.low ?? null,
    ratioHigh: interval?.high ?? null,
    numSlices: [before!.length, after!.length],
    verdict: verdictOf(interval, metric.higherIsFaster),
  };
}

function valuesOf(slices: readonly StageSlice[], name: SpeedRow["metric"]): number[] {
  return slices.map((slice) => slice[name]).filter((value) => value !== null && value > 0) as number[];
}

function verdictOf(interval: RatioInterval | null, higherIsFaster: boolean): SpeedRow["verdict"] {
  if (interval === null) return "too few requests to tell";
  const { low, high } = interval;
  if (low <= 1 && high >= 1) return "no difference that this run can show";
  return low > 1 === higherIsFaster ? "faster" : "slower";
}
