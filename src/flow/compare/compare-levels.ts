import { bootstrapInterval } from "../../bench/bootstrap-interval.ts";
import { generatorFor } from "../../bench/random.ts";
import { type LogError, type RatioInterval, ratioInterval, sliceError } from "../../bench/ratio-interval.ts";
import type { SpeedRow } from "../../records/comparison.ts";
import { type LoadLevel, levelName } from "../../records/load-level.ts";
import { isFailing } from "../../records/slo.ts";
import { strataOf } from "./level-spread.ts";
import { roundVariance } from "./round-variance.ts";

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
 * interval and a verdict: a difference is claimed only where the interval leaves out 1, both clients kept up and both
 * servers answered. Where both were measured by turns in four rounds or more, the interval is that of the paired rounds.
 * Else it is the widest of three: that of the slices, that of the rounds by their pooled variance, and what each round says
 * by itself. So two rounds also know what changes from one start of a server to the next.
 *
 * @param all the levels of every variant of the comparison, from which the variance between rounds is taken
 */
export function compareLevels(
  base: readonly LoadLevel[],
  compressed: readonly LoadLevel[],
  all: readonly (readonly LoadLevel[])[] = [base, compressed],
): SpeedRow[] {
  const pairs = base.flatMap((level) => {
    const other = compressed.find((each) => each.kind === level.kind && each.asked === level.asked);
    return other === undefined || (level.kind === "open" && level.asked === null)
      ? []
      : [[level, other] as const];
  });
  return pairs.flatMap((pair) =>
    metrics.flatMap(
      (metric) => compareMetric(metric, pair, roundVariance(all, pair[0].kind, metric.name)) ?? [],
    ),
  );
}

/** The same load on both. */
type LevelPair = readonly [base: LoadLevel, compressed: LoadLevel];

function compareMetric(
  metric: SpeedMetric,
  [base, compressed]: LevelPair,
  variance: LogError | null,
): SpeedRow | null {
  const { name, ofLevel } = metric;
  const [a, b] = [ofLevel(base), ofLevel(compressed)];
  if (a === null || b === null || a <= 0) return null;
  // No answer at all is a throughput of 0, which is told with its fault; any other 0 is a time that nothing is a multiple of.
  if (b <= 0 && !(name === "outputTokensPerSecond" && isFailing(compressed))) return null;
  const [before, after] = [strataOf(base, name), strataOf(compressed, name)];
  const errors = [sliceError(before), sliceError(after)].filter((error) => error !== null);
  const ofRounds = roundRatios(base, compressed, name);
  const paired = pairedInterval(ofRounds);
  const widest = (): RatioInterval | null =>
    widestInterval(
      [
        errors.length === 2 ? ratioInterval(b / a, ...errors) : null,
        roundsInterval(b / a, [base.rounds.length, compressed.rounds.length], variance),
      ],
      ofRounds,
    );
  // Intervals are even on the logarithm, which 0 has not.
  const interval = b > 0 ? (paired ?? widest()) : null;
  return {
    level: levelName(base),
    metric: name,
    base: a,
    compressed: b,
    ratio: b / a,
    ratioLow: interval?.low ?? null,
    ratioHigh: interval?.high ?? null,
    numSlices: [before.flat().length, after.flat().length],
    numPairedRounds: paired === null ? null : base.rounds.length,
    verdict: faultOf([base, compressed]) ?? verdictOf(interval, metric.higherIsFaster),
  };
}

/** Why a row does not count. */
function faultOf(levels: LevelPair): SpeedRow["verdict"] | null {
  if (levels.some(({ faults }) => faults.length > 0)) return "does not count: the client was late";
  return levels.some(isFailing) ? "does not count: requests failed" : null;
}

/** Null where no interval is known: the ratios of single rounds widen what others say, and say nothing alone. */
function widestInterval(
  intervals: readonly (RatioInterval | null)[],
  ofRounds: readonly number[],
): RatioInterval | null {
  const known = intervals.filter((interval) => interval !== null);
  if (known.length === 0) return null;
  return {
    low: Math.min(...known.map(({ low }) => low), ...ofRounds),
    high: Math.max(...known.map(({ high }) => high), ...ofRounds),
  };
}

function roundsInterval(
  ratio: number,
  numRounds: readonly [number, number],
  variance: LogError | null,
): RatioInterval | null {
  if (variance === null || Math.min(...numRounds) < 2) return null;
  const [before, after] = numRounds;
  return ratioInterval(ratio, { ...variance, squared: variance.squared * (1 / before + 1 / after) });
}

/** Where resamples are drawn, so that one comparison always gives one interval. */
const bootstrapSeed = 0xf104;

/** compressed / base of each round; none where they have not the same rounds, or one has no such figure. */
function roundRatios(base: LoadLevel, compressed: LoadLevel, name: SpeedRow["metric"]): readonly number[] {
  const [before, after] = [base, compressed].map(({ rounds }) => rounds.map((round) => round[name]));
  const isPaired = before!.length === after!.length;
  if (!isPaired || [...before!, ...after!].some((figure) => figure === null || figure <= 0)) return [];
  return before!.map((figure, round) => after![round]! / figure!);
}

/** Interval of the ratio of two figures that were measured in the same rounds; null for too few of them. */
function pairedInterval(ofRounds: readonly number[]): RatioInterval | null {
  const interval = bootstrapInterval(ofRounds.map(Math.log), generatorFor(bootstrapSeed, ofRounds.length));
  return interval === null ? null : { low: Math.exp(interval.low), high: Math.exp(interval.high) };
}

function verdictOf(interval: RatioInterval | null, higherIsFaster: boolean): SpeedRow["verdict"] {
  if (interval === null) return "nothing to tell the noise by";
  const { low, high } = interval;
  if (low <= 1 && high >= 1) return "no difference that this run can show";
  return low > 1 === higherIsFaster ? "faster" : "slower";
}
