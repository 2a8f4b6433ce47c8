import { bootstrapInterval } from "../../bench/bootstrap-interval.ts";
import { generatorFor } from "../../bench/random.ts";
import {
  insideStrata,
  type LogError,
  type RatioInterval,
  ratioInterval,
  relativeSpread,
  type Strata,
  sliceError,
} from "../../bench/ratio-interval.ts";
import type { SpeedRow } from "../../records/comparison.ts";
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
 * were measured by turns in four rounds or more, the interval is that of the paired rounds. Else it is the widest of three:
 * that of the slices, that of the paired rounds with their variance pooled over the levels, and what each round says by
 * itself. So two rounds also know what changes from one start of a server to the next.
 */
export function compareLevels(base: readonly LoadLevel[], compressed: readonly LoadLevel[]): SpeedRow[] {
  const pairs = base.flatMap((level) => {
    const other = compressed.find((each) => each.kind === level.kind && each.asked === level.asked);
    return other === undefined || (level.kind === "open" && level.asked === null)
      ? []
      : [[level, other] as const];
  });
  const compareAll = metrics.map((metric) => {
    const variance = roundVariance(pairs.map((pair) => roundRatios(...pair, metric.name)));
    return (pair: LevelPair) => compareMetric(metric, pair, variance);
  });
  return pairs.flatMap((pair) => compareAll.flatMap((compare) => compare(pair) ?? []));
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
  if (a === null || b === null || a <= 0 || b <= 0) return null;
  const [before, after] = [strataOf(base.slices, name), strataOf(compressed.slices, name)];
  const errors = [sliceError(before), sliceError(after)] as const;
  const ofRounds = roundRatios(base, compressed, name);
  const paired = pairedInterval(ofRounds);
  const interval = paired ?? widestInterval(b / a, errors, ofRounds, variance);
  const isValid = base.faults.length + compressed.faults.length === 0;
  return {
    level: levelName(base),
    metric: name,
    base: a,
    compressed: b,
    baseSpread: errors[0] && relativeSpread(errors[0]),
    compressedSpread: errors[1] && relativeSpread(errors[1]),
    ratio: b / a,
    ratioLow: interval?.low ?? null,
    ratioHigh: interval?.high ?? null,
    numSlices: [before.flat().length, after.flat().length],
    numPairedRounds: paired === null ? null : base.rounds.length,
    verdict: isValid ? verdictOf(interval, metric.higherIsFaster) : "does not count: the client was late",
  };
}

function widestInterval(
  ratio: number,
  [before, after]: readonly [LogError | null, LogError | null],
  ofRounds: readonly number[],
  variance: LogError | null,
): RatioInterval | null {
  if (before === null || after === null) return null;
  const intervals = [ratioInterval(ratio, before, after)];
  if (variance !== null && ofRounds.length > 1)
    intervals.push(ratioInterval(ratio, { ...variance, squared: variance.squared / ofRounds.length }));
  return {
    low: Math.min(...intervals.map(({ low }) => low), ...ofRounds),
    high: Math.max(...intervals.map(({ high }) => high), ...ofRounds),
  };
}

/**
 * Variance of the logarithm of a round's ratio, pooled over the levels: two rounds of one level say next to nothing of what
 * differs between starts of a server, those of all levels do. Each level is taken to vary by the same share, as the
 * repeatability variance of ISO 5725-2. Null with fewer than two degrees of freedom, from which Student's t makes
 * intervals that nothing could leave.
 */
function roundVariance(levels: Strata): LogError | null {
  const { squares, freedom } = insideStrata(levels);
  return freedom < 2 ? null : { squared: squares / freedom, freedom };
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

/** The slices' figures by their place in their rounds. */
function strataOf(rounds: LoadLevel["slices"], name: SpeedRow["metric"]): Strata {
  const numPlaces = Math.max(0, ...rounds.map(({ length }) => length));
  return Array.from({ length: numPlaces }, (_, place) =>
    rounds.flatMap((slices) => slices[place]?.[name] ?? []).filter((value) => value > 0),
  );
}

function verdictOf(interval: RatioInterval | null, higherIsFaster: boolean): SpeedRow["verdict"] {
  if (interval === null) return "too few requests to tell";
  const { low, high } = interval;
  if (low <= 1 && high >= 1) return "no difference that this run can show";
  return low > 1 === higherIsFaster ? "faster" : "slower";
}
