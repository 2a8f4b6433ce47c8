import type { MetricDefinition, Score } from "../evaluate/metrics/metric.ts";
import { bootstrap, mcnemarExact, pooledError, sum, weightedMean } from "../evaluate/statistics.ts";
import type { AccuracyRow } from "../records/comparison.ts";

/** Fewer documents than this say nothing by resampling. */
const minForInterval = 10;

/** Behind the standard error of perplexities. */
const numResamples = 1000;

/** 97.5 % and 80 % points of the normal distribution: a difference of their sum in standard errors is found in 4 of 5 runs. */
const detectableErrors = 1.959963984540054 + 0.8416212335729143;

/** One metric of the documents of a task that both models have; the same index is the same document. */
export interface PairedScores {
  readonly metric: MetricDefinition;
  readonly docIds: readonly number[];
  readonly base: readonly Score[];
  readonly compressed: readonly Score[];
}

/**
 * One task, or the tasks of a group: their values are averaged, weighted by documents or not. Documents are resampled inside
 * each task.
 */
export function compareMetric(
  tasks: readonly PairedScores[],
  isWeightedBySize: boolean,
): Omit<AccuracyRow, "task" | "metric" | "parent"> {
  const { higherIsBetter } = tasks[0]!.metric;
  const sizes = tasks.map(({ docIds }) => docIds.length);
  const weights = isWeightedBySize ? sizes : sizes.map(() => 1);
  const numDocuments = sum(sizes);
  const valueOf = (side: "base" | "compressed", rows: readonly Int32Array[] | null): number =>
    weightedMean(
      tasks.map(({ metric, [side]: scores }, i) =>
        metric.aggregation.value(rows === null ? scores : Array.from(rows[i]!, (row) => scores[row]!)),
      ),
      weights,
    );
  const recoveryOf = (base: number, compressed: number): number =>
    higherIsBetter ? compressed / base : base / compressed;
  const base = valueOf("base", null);
  const compressed = valueOf("compressed", null);
  const [recovery, difference] =
    numDocuments < minForInterval
      ? []
      : bootstrap(sizes, (rows) => {
          const [a, b] = [valueOf("base", rows), valueOf("compressed", rows)];
          return [recoveryOf(a, b), b - a];
        });
  const numFlips = countFlips(tasks);
  const whole = recoveryOf(base, compressed);
  return {
    higherIsBetter,
    numDocuments,
    base,
    baseStderr: errorOf(tasks, "base"),
    compressed,
    compressedStderr: errorOf(tasks, "compressed"),
    recovery: Number.isFinite(whole) ? whole : null,
    recoveryLow: recovery?.interval?.low ?? null,
    recoveryHigh: recovery?.interval?.high ?? null,
    difference: compressed - base,
    differenceLow: difference?.interval?.low ?? null,
    differenceHigh: difference?.interval?.high ?? null,
    detectable: detectableDifference(difference?.deviation ?? null, numFlips === null ? null : numDocuments),
    numFlips,
    flips: numFlips === null || tasks.length > 1 ? null : flipsOf(tasks[0]!),
    pValue: numFlips === null ? null : mcnemarExact(numFlips.lost, numFlips.gained),
  };
}

/**
 * With hardly a flip the resamples hardly vary, which does not say that none can be found elsewhere: where none was seen
 * among n documents, three are still within the 95 % bound (rule of three).
 */
function detectableDifference(error: number | null, numBinary: number | null): number | null {
  if (error === null) return null;
  const least = numBinary === null ? 0 : Math.sqrt(3) / numBinary;
  return detectableErrors * Math.max(error, least);
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

/** Null where answers are not right or wrong. */
function countFlips(tasks: readonly PairedScores[]): AccuracyRow["numFlips"] {
  if (!tasks.every(({ base, compressed }) => base.every(isBinary) && compressed.every(isBinary))) return null;
  const flips = tasks.map(flipsOf);
  return {
    lost: sum(flips.map(({ lost }) => lost.length)),
    gained: sum(flips.map(({ gained }) => gained.length)),
  };
}

function flipsOf({ docIds, base, compressed }: PairedScores): {
  readonly lost: number[];
  readonly gained: number[];
} {
  const where = (before: Score, after: Score): number[] =>
    docIds.filter((_id, i) => base[i] === before && compressed[i] === after);
  return { lost: where(1, 0), gained: where(0, 1) };
}
