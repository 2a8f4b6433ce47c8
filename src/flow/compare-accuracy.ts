import { MillraceError } from "../base/errors.ts";
import { noFilter } from "../evaluate/filters/filter.ts";
import type { MetricDefinition, Score } from "../evaluate/metrics/metric.ts";
import { recordedMetrics } from "../evaluate/recorded-metrics.ts";
import { bootstrapInterval, mcnemarExact } from "../evaluate/statistics.ts";
import type { AccuracyRow, Flips, UnpairedDocuments } from "../records/comparison.ts";
import type { EvaluationRecord, EvaluationSample } from "../records/evaluation.ts";

/** Fewer documents than this say nothing by resampling. */
const minForInterval = 10;

/** Behind the standard error of perplexities. */
const numResamples = 1000;

export interface AccuracyComparison {
  /** Every metric of every task, over the documents that both runs have. */
  readonly accuracy: AccuracyRow[];
  /** One entry for each task with documents that only one run has. */
  readonly unpaired: UnpairedDocuments[];
}

/**
 * Compares two evaluations document by document. What has no counterpart is named, never dropped in silence.
 * Throws `nothing_to_compare` when no document pairs, and `evaluation_unsupported` for a metric of unknown kind.
 */
export function compareAccuracy(base: EvaluationRecord, compressed: EvaluationRecord): AccuracyComparison {
  const tasks = [...new Set([...Object.keys(base.samples), ...Object.keys(compressed.samples)])];
  const paired = tasks.map((task) => ({
    task,
    ...pairSamples(base.samples[task] ?? [], compressed.samples[task] ?? []),
  }));
  if (paired.every(({ pairs }) => pairs.length === 0)) throw nothingPairs(base, compressed);
  return {
    accuracy: paired.flatMap(({ task, pairs }) =>
      pairs.length === 0 ? [] : compareTask(task, pairs, recordedMetrics(base, task)),
    ),
    unpaired: paired.flatMap(({ task, onlyBase, onlyCompressed }) =>
      onlyBase.length + onlyCompressed.length === 0 ? [] : [{ task, onlyBase, onlyCompressed }],
    ),
  };
}

type SamplePair = readonly [EvaluationSample, EvaluationSample];

interface PairedSamples extends Omit<UnpairedDocuments, "task"> {
  readonly pairs: readonly SamplePair[];
}

/** Pairs by document number, filter, prompt and right answer. */
function pairSamples(
  base: readonly EvaluationSample[],
  compressed: readonly EvaluationSample[],
): PairedSamples {
  const keyOf = (sample: EvaluationSample): string =>
    `${sample.doc_id} ${sample.filter} ${sample.prompt_hash} ${sample.target_hash}`;
  const others = new Map(compressed.map((sample) => [keyOf(sample), sample]));
  const pairs: SamplePair[] = [];
  const onlyBase = new Set<number>();
  for (const sample of base) {
    const other = others.get(keyOf(sample));
    if (other === undefined) onlyBase.add(sample.doc_id);
    else pairs.push([sample, other]);
  }
  const found = new Set(pairs.map(([, other]) => other));
  const onlyCompressed = new Set(
    compressed.filter((sample) => !found.has(sample)).map((sample) => sample.doc_id),
  );
  return { pairs, onlyBase: [...onlyBase], onlyCompressed: [...onlyCompressed] };
}

function nothingPairs(base: EvaluationRecord, compressed: EvaluationRecord): MillraceError {
  const describe = ({ samples }: EvaluationRecord): string =>
    Object.entries(samples)
      .map(([task, rows]) => `${task} with ${new Set(rows.map((row) => row.doc_id)).size}`)
      .join(", ") || "nothing";
  return new MillraceError(
    "nothing_to_compare",
    `No document of one evaluation is in the other: base has ${describe(base)}, compressed has ${describe(compressed)} documents. Documents pair by task, number, prompt and right answer. Evaluate both with the same --tasks, --split and --data.`,
  );
}

/** Every metric behind every filter, as the results name them: `acc`, `exact_match,strict-match`. */
function compareTask(
  task: string,
  pairs: readonly SamplePair[],
  metrics: readonly MetricDefinition[],
): AccuracyRow[] {
  const filters = [...new Set(pairs.map(([sample]) => sample.filter))];
  return filters.flatMap((filter) => {
    const own = pairs.filter(([sample]) => sample.filter === filter);
    return metrics.map((metric) => {
      const name = filter === noFilter.name ? metric.name : `${metric.name},${filter}`;
      return { task, metric: name, ...compareMetric(metric, own) };
    });
  });
}

function compareMetric(
  metric: MetricDefinition,
  pairs: readonly SamplePair[],
): Omit<AccuracyRow, "task" | "metric"> {
  const { aggregation } = metric;
  const values = (side: 0 | 1): Score[] => pairs.map((pair) => pair[side].metrics[metric.name]!);
  const [base, compressed] = [values(0), values(1)];
  const recoveryOf = (rows: Int32Array | null): number | null => {
    const pick = (side: readonly Score[]): readonly Score[] =>
      rows === null ? side : Array.from(rows, (row) => side[row]!);
    const [a, b] = [aggregation.value(pick(base)), aggregation.value(pick(compressed))];
    const [numerator, denominator] = metric.higherIsBetter ? [b, a] : [a, b];
    return denominator === 0 ? null : numerator / denominator;
  };
  // A resample in which the base scores nothing has no recovery: then the interval is not known.
  let isDefined = pairs.length >= minForInterval;
  const resampled = isDefined
    ? bootstrapInterval(pairs.length, (rows) => {
        const recovery = recoveryOf(rows);
        if (recovery === null) isDefined = false;
        return recovery ?? 0;
      })
    : null;
  const interval = isDefined ? resampled : null;
  const flips = flipsOf(metric, pairs);
  return {
    higherIsBetter: metric.higherIsBetter,
    numDocuments: pairs.length,
    base: aggregation.value(base),
    baseStderr: aggregation.standardError(base, numResamples),
    compressed: aggregation.value(compressed),
    compressedStderr: aggregation.standardError(compressed, numResamples),
    recovery: recoveryOf(null),
    recoveryLow: interval?.low ?? null,
    recoveryHigh: interval?.high ?? null,
    flips,
    pValue: flips === null ? null : mcnemarExact(flips.lost.length, flips.gained.length),
  };
}

/** Answers that only one side got right; null where answers are not right or wrong. */
function flipsOf({ name }: MetricDefinition, pairs: readonly SamplePair[]): Flips | null {
  const isBinary = (sample: EvaluationSample): boolean =>
    sample.metrics[name] === 0 || sample.metrics[name] === 1;
  if (!pairs.every((pair) => pair.every(isBinary))) return null;
  const where = (before: 0 | 1, after: 0 | 1): number[] =>
    pairs
      .filter(([base, compressed]) => base.metrics[name] === before && compressed.metrics[name] === after)
      .map(([base]) => base.doc_id);
  return { lost: where(1, 0), gained: where(0, 1) };
}
