import { normalQuantile, studentQuantile } from "../base/quantiles.ts";
import type { MetricDefinition, Score } from "../evaluate/metrics/metric.ts";
import { differenceInterval, type PairedCounts, ratioInterval } from "../evaluate/paired-proportions.ts";
import {
  bootstrap,
  type Interval,
  mcnemarExact,
  pooledError,
  sum,
  weightedMean,
} from "../evaluate/statistics.ts";
import type { AccuracyRow, Flips } from "../records/comparison.ts";

/**
 * Resampling sees only what it saw: with fewer documents than this whose scores differ, an interval of it is none. It is the
 * usual least count for taking a share as normally distributed.
 */
const minDiffering = 10;

/** Behind the standard error of perplexities. */
const numResamples = 1000;

/** With the 80 % point of the normal distribution: a difference of so many standard errors is found in 4 of 5 runs. */
const detectableErrors = normalQuantile + 0.8416212335729143;

/** One metric of the documents of a task that both models have; the same index is the same document. */
export interface PairedScores {
  readonly metric: MetricDefinition;
  readonly docIds: readonly number[];
  readonly base: readonly Score[];
  readonly compressed: readonly Score[];
}

/** What the documents say of one metric beyond its values, each at 95 %; null where they say nothing. */
interface PairedIntervals {
  readonly recovery: Interval | null;
  readonly difference: Interval | null;
  /** Standard error of the difference. */
  readonly error: number | null;
}

/**
 * One task, or the tasks of a group: their values are averaged, weighted by documents or not. Where answers are right or
 * wrong the intervals invert the score test (`paired-proportions.ts`), else documents are resampled inside each task.
 */
export function compareMetric(
  tasks: readonly PairedScores[],
  isWeightedBySize: boolean,
): Omit<AccuracyRow, "task" | "metric" | "parent"> {
  const { higherIsBetter } = tasks[0]!.metric;
  const sizes = tasks.map(({ docIds }) => docIds.length);
  const weights = isWeightedBySize ? sizes : sizes.map(() => 1);
  const base = valueOf(tasks, weights, "base");
  const compressed = valueOf(tasks, weights, "compressed");
  const flips = isRightOrWrong(tasks) ? tasks.map(flipsOf) : null;
  const numFlips = flips === null ? null : countFlips(flips);
  const { recovery, difference, error } =
    flips === null ? resampledIntervals(tasks, weights) : scoreIntervals(tasks, weights);
  const whole = recoveryOf(higherIsBetter, base, compressed);
  return {
    higherIsBetter,
    numDocuments: sum(sizes),
    base,
    baseStderr: errorOf(tasks, "base"),
    compressed,
    compressedStderr: errorOf(tasks, "compressed"),
    recovery: Number.isFinite(whole) ? whole : null,
    recoveryLow: finite(recovery?.low),
    recoveryHigh: finite(recovery?.high),
    difference: compressed - base,
    differenceLow: finite(difference?.low),
    differenceHigh: finite(difference?.high),
    detectable: error === null ? null : detectableErrors * error,
    numFlips,
    flips: flips === null || tasks.length > 1 ? null : flips[0]!,
    pValue: numFlips === null ? null : mcnemarExact(numFlips.lost, numFlips.gained),
  };
}

const finite = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null;

function recoveryOf(higherIsBetter: boolean, base: number, compressed: number): number {
  return higherIsBetter ? compressed / base : base / compressed;
}

function valueOf(
  tasks: readonly PairedScores[],
  weights: readonly number[],
  side: "base" | "compressed",
  rows: readonly Int32Array[] | null = null,
): number {
  return weightedMean(
    tasks.map(({ metric, [side]: scores }, i) =>
      metric.aggregation.value(rows === null ? scores : Array.from(rows[i]!, (row) => scores[row]!)),
    ),
    weights,
  );
}

/**
 * Of right and wrong. The error is never below that of three flips: where none was seen among n documents, three are still
 * within the 95 % bound (rule of three; Hanley and Lippman-Hand 1983).
 */
function scoreIntervals(tasks: readonly PairedScores[], weights: readonly number[]): PairedIntervals {
  const counts = tasks.map((task, i) => ({ ...countsOf(task), weight: weights[i]! }));
  const ratio = ratioInterval(counts);
  const inverse = ratio === null ? null : { low: 1 / ratio.high, high: 1 / ratio.low };
  const total = sum(weights);
  const numDocuments = sum(tasks.map(({ docIds }) => docIds.length));
  const variance = sum(
    counts.map(({ lost, gained, weight }, i) => {
      const n = tasks[i]!.docIds.length;
      return ((weight / total) ** 2 * (lost + gained - (gained - lost) ** 2 / n)) / n ** 2;
    }),
  );
  return {
    recovery: tasks[0]!.metric.higherIsBetter ? ratio : inverse,
    difference: differenceInterval(counts),
    error: Math.max(Math.sqrt(variance), Math.sqrt(3) / numDocuments),
  };
}

/**
 * By the bootstrap. Percentiles from n documents of k tasks are too narrow by √((n − k) / n), and by the normal in place of
 * Student's distribution (Hesterberg 2015, The American Statistician 69, 371–386); they are widened by that.
 */
function resampledIntervals(tasks: readonly PairedScores[], weights: readonly number[]): PairedIntervals {
  const sizes = tasks.map(({ docIds }) => docIds.length);
  const freedom = sum(sizes) - sizes.length;
  const numDiffering = sum(tasks.map(countDiffering));
  if (numDiffering < minDiffering || freedom < 1) return { recovery: null, difference: null, error: null };
  const { higherIsBetter } = tasks[0]!.metric;
  const figures = (rows: readonly Int32Array[] | null): [number, number] => {
    const base = valueOf(tasks, weights, "base", rows);
    const compressed = valueOf(tasks, weights, "compressed", rows);
    return [recoveryOf(higherIsBetter, base, compressed), compressed - base];
  };
  const factor = (Math.sqrt(sum(sizes) / freedom) * studentQuantile(freedom)) / normalQuantile;
  const seen = figures(null);
  const [recovery, difference] = bootstrap(sizes, figures).map(({ interval, deviation }, i) => ({
    interval: interval === null ? null : widened(interval, seen[i]!, factor),
    deviation,
  }));
  return {
    recovery: recovery!.interval,
    difference: difference!.interval,
    error: difference!.deviation,
  };
}

function widened({ low, high }: Interval, center: number, factor: number): Interval {
  return { low: center + factor * (low - center), high: center + factor * (high - center) };
}

function countDiffering({ base, compressed }: PairedScores): number {
  return base.filter((score, i) => String(score) !== String(compressed[i])).length;
}

function errorOf(tasks: readonly PairedScores[], side: "base" | "compressed"): number | null {
  const errors = tasks.map(({ metric, [side]: scores }) =>
    metric.aggregation.standardError(scores, numResamples),
  );
  if (tasks.length === 1) return errors[0]!;
  if (!errors.every((error) => error !== null)) return null;
  return pooledError(
    errors,
    tasks.map(({ docIds }) => docIds.length),
  );
}

const isBinary = (score: Score): boolean => score === 0 || score === 1;

function isRightOrWrong(tasks: readonly PairedScores[]): boolean {
  return tasks.every(({ base, compressed }) => base.every(isBinary) && compressed.every(isBinary));
}

function countsOf({ base, compressed }: PairedScores): Omit<PairedCounts, "weight"> {
  const count = (before: Score, after: Score): number =>
    base.filter((score, i) => score === before && compressed[i] === after).length;
  return { bothRight: count(1, 1), lost: count(1, 0), gained: count(0, 1), bothWrong: count(0, 0) };
}

function countFlips(flips: readonly Flips[]): NonNullable<AccuracyRow["numFlips"]> {
  return {
    lost: sum(flips.map(({ lost }) => lost.length)),
    gained: sum(flips.map(({ gained }) => gained.length)),
  };
}

function flipsOf({ docIds, base, compressed }: PairedScores): Flips {
  const where = (before: Score, after: Score): number[] =>
    docIds.filter((_id, i) => base[i] === before && compressed[i] === after);
  return { lost: where(1, 0), gained: where(0, 1) };
}
