import type { MetricDefinition, Score } from "../evaluate/metrics/metric.ts";
import { filterNames } from "../evaluate/results.ts";
import { bootstrapInterval, mcnemarExact } from "../evaluate/statistics.ts";
import { findTask } from "../evaluate/task-registry.ts";
import type { AccuracyRow } from "../records/comparison.ts";
import type { EvaluationRecord, EvaluationSample } from "../records/evaluation.ts";

/** Fewer documents than this say nothing by resampling. */
const minForInterval = 10;

/** Behind the standard error of perplexities. */
const numResamples = 1000;

/** Every metric of every task that both runs have, paired by document. */
export function compareAccuracy(base: EvaluationRecord, compressed: EvaluationRecord): AccuracyRow[] {
  return Object.keys(base.samples).flatMap((task) => {
    const pairs = pairSamples(base.samples[task] ?? [], compressed.samples[task] ?? []);
    if (pairs.length === 0) return [];
    const definition = findTask(task);
    return filterNames(definition).flatMap((filter) => {
      const own = pairs.filter(([sample]) => sample.filter === filter);
      return own.length === 0 ? [] : definition.metrics.map((metric) => compareMetric(task, metric, own));
    });
  });
}

type SamplePair = readonly [EvaluationSample, EvaluationSample];

/** Pairs by document number and prompt; documents that only one run has are left out. */
function pairSamples(
  base: readonly EvaluationSample[],
  compressed: readonly EvaluationSample[],
): SamplePair[] {
  const others = new Map(compressed.map((sample) => [keyOf(sample), sample]));
  return base.flatMap((sample): SamplePair[] => {
    const other = others.get(keyOf(sample));
    return other === undefined ? [] : [[sample, other]];
  });
}

function keyOf({ doc_id: id, filter, prompt_hash: prompt }: EvaluationSample): string {
  return `${id} ${filter} ${prompt}`;
}

function compareMetric(task: string, metric: MetricDefinition, pairs: readonly SamplePair[]): AccuracyRow {
  const values = (side: 0 | 1): Score[] => pairs.map((pair) => pair[side].metrics[metric.name]!);
  const [base, compressed] = [values(0), values(1)];
  const recoveryOf = (rows: Int32Array | null): number | null => {
    const pick = (side: typeof base): typeof base =>
      rows === null ? side : Array.from(rows, (row) => side[row]!);
    const [a, b] = [metric.aggregation.value(pick(base)), metric.aggregation.value(pick(compressed))];
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
  return {
    task,
    metric: metric.name,
    higherIsBetter: metric.higherIsBetter,
    numDocuments: pairs.length,
    base: metric.aggregation.value(base),
    baseStderr: metric.aggregation.standardError(base, numResamples),
    compressed: metric.aggregation.value(compressed),
    compressedStderr: metric.aggregation.standardError(compressed, numResamples),
    recovery: recoveryOf(null),
    recoveryLow: interval?.low ?? null,
    recoveryHigh: interval?.high ?? null,
    ...flips(base, compressed),
  };
}

/** Answers that only one side got right; null where answers are not right or wrong. */
function flips(
  base: readonly Score[],
  compressed: readonly Score[],
): Pick<AccuracyRow, "lost" | "gained" | "pValue"> {
  if (![...base, ...compressed].every((value) => value === 0 || value === 1)) {
    return { lost: null, gained: null, pValue: null };
  }
  const lost = base.filter((value, index) => value === 1 && compressed[index] === 0).length;
  const gained = base.filter((value, index) => value === 0 && compressed[index] === 1).length;
  return { lost, gained, pValue: mcnemarExact(lost, gained) };
}
