import { bootstrapInterval } from "../../bench/bootstrap-interval.ts";
import { generatorFor } from "../../bench/random.ts";
import { type RatioInterval, ratioInterval, relativeSpread } from "../../bench/ratio-interval.ts";
import type { SpeedRow } from "../../records/comparison.ts";
import type { StageSlice } from "../../records/load-figures.ts";
import { type LoadLevel, levelName } from "../../records/load-level.ts";

interface SpeedMetric {
  readonly name: SpeedRow["metric"];
  readonly higherIsFaster: boolean;
  /** The level's figure; null where it has none. */
  readonly ofLevel: (level: LoadLevel) => number | null;
}

const metrics: readonly SpeedMetric[] = [
  {
    name: "outputTokensPerSecond",
    higherIsFaster: true,
    ofLevel: (level) => level.outputTokensPerSecond,
  },
  { name: "ttftMs", higherIsFaster: false, ofLevel: (level) => level.ttftMs?.mean ?? null },
  { name: "tpotMs", higherIsFaster: false, ofLevel: (level) => level.tpotMs?.mean ?? null },
  { name: "e2eMs", higherIsFaster: false, ofLevel: (level) => level.e2eMs?.mean ?? null },
];

/**
 * Throughput and mean latencies of two load tests at every load that both were asked for, each ratio with its 95 %
 * interval and a verdict: a difference is claimed only where the interval leaves out 1 and both clients kept up. Where both
 * were measured by turns in four rounds or more, the interval is that of the paired rounds, which also knows what changes
 * from one start of a server to the next. Else it is that of the slices, and no narrower than what the rounds say one by
 * one: rounds that contradict each other show no difference.
 */
export function compareLevels(base: readonly LoadLevel[], compressed: readonly LoadLevel[]): SpeedRow[] {
  return base.flatMap((level) => {
    const other = compressed.find((each) => each.kind === level.kind && each.asked === level.asked);
    if (other === undefined || (level.kind === "open" && level.asked === null)) return [];
    return metrics.flatMap((metric) => compareMetric(metric, level, other) ?? []);
  });
}

function compareMetric(metric: SpeedMetric, base: LoadLevel, compressed: LoadLevel): SpeedRow | null {
  const [a, b] = [metric.ofLevel(base), metric.ofLevel(compressed)];
  if (a === null || b === null || a <= 0 || b <= 0) return null;
  const [before, after] = [base, compressed].map(({ slices }) => valuesOf(slices, metric.name));
  const ratio = b / a;
  const ofRounds = roundRatios(base.rounds, compressed.rounds, metric.name);
  const paired = pairedInterval(ofRounds);
  const interval = paired ?? widened(ratioInterval(ratio, after!, before!), ofRounds);
  const isValid = base.faults.length + compressed.faults.length === 0;
  return {
    level: levelName(base),
    metric: metric.name,
    base: a,
    compressed: b,
    baseSpread: relativeSpread(before!),
    compressedSpread: relativeSpread(after!),
    ratio,
    ratioLow: interval?.low ?? null,
    ratioHigh: interval?.high ?? null,
    numSlices: [before!.length, after!.length],
    numPairedRounds: paired === null ? null : base.rounds.length,
    verdict: isValid ? verdictOf(interval, metric.higherIsFaster) : "does not count: the client was late",
  };
}

/** Where resamples are drawn, so that one comparison always gives one interval. */
const bootstrapSeed = 0xf104;

/** compressed / base of each round; none where they have not the same rounds, or one has no such figure. */
function roundRatios(
  base: LoadLevel["rounds"],
  compressed: LoadLevel["rounds"],
  name: SpeedRow["metric"],
): readonly number[] {
  const figuresOf = (rounds: LoadLevel["rounds"]): number[] =>
    rounds.map((round) => round[name]).filter((figure) => figure !== null && figure > 0) as number[];
  const [before, after] = [figuresOf(base), figuresOf(compressed)];
  const isPaired = base.length === compressed.length && before.length === base.length;
  return isPaired && after.length === base.length
    ? before.map((figure, round) => after[round]! / figure)
    : [];
}

/** Interval of the ratio of two figures that were measured in the same rounds; null for too few of them. */
function pairedInterval(ofRounds: readonly number[]): RatioInterval | null {
  const interval = bootstrapInterval(ofRounds.map(Math.log), generatorFor(bootstrapSeed, ofRounds.length));
  return interval === null ? null : { low: Math.exp(interval.low), high: Math.exp(interval.high) };
}

function widened(interval: RatioInterval | null, ofRounds: readonly number[]): RatioInterval | null {
  if (interval === null) return null;
  return { low: Math.min(interval.low, ...ofRounds), high: Math.max(interval.high, ...ofRounds) };
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
