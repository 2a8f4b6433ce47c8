import { MillraceError } from "../base/errors.ts";
import { noFilter } from "../evaluate/filters/filter.ts";
import type { MetricDefinition, Score } from "../evaluate/metrics/metric.ts";
import { recordedMetrics } from "../evaluate/recorded-metrics.ts";
import { mean, weightedMean } from "../evaluate/statistics.ts";
import type { AccuracyRow, ChangedAnswer, UnpairedDocuments } from "../records/comparison.ts";
import type { EvaluationRecord, EvaluationSample } from "../records/evaluation.ts";
import { changedAnswers } from "./changed-answers.ts";
import { compareMetric, type PairedScores } from "./compare-metric.ts";

export interface AccuracyComparison {
  /** Every metric of every group and task, over the documents that both runs have. */
  readonly accuracy: AccuracyRow[];
  /** Documents that only one model answered right, by the first metric of each task. */
  readonly changed: ChangedAnswer[];
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
  const scores = new Map(
    paired
      .filter(({ pairs }) => pairs.length > 0)
      .map(({ task, pairs }) => [task, scoresOf(pairs, recordedMetrics(base, task))]),
  );
  const ofTasks = [...scores].flatMap(([task, metrics]) =>
    [...metrics].map(([metric, values]): AccuracyRow => {
      const parent = parentOf(base, task);
      return { task, parent, metric, ...compareMetric([values], true) };
    }),
  );
  return {
    accuracy: [...compareGroups(base, scores), ...ofTasks],
    changed: paired.flatMap(({ task, pairs }) => {
      const first = ofTasks.find((row) => row.task === task);
      return first === undefined ? [] : changedAnswers(first, pairs);
    }),
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

/** The paired scores of a task, by the metric's name in results: `acc`, `exact_match,strict-match`. */
type TaskScores = ReadonlyMap<string, PairedScores>;

function scoresOf(pairs: readonly SamplePair[], metrics: readonly MetricDefinition[]): TaskScores {
  const scores = new Map<string, PairedScores>();
  for (const filter of new Set(pairs.map(([sample]) => sample.filter))) {
    const own = pairs.filter(([sample]) => sample.filter === filter);
    for (const metric of metrics) {
      const valuesOf = (side: 0 | 1): Score[] => own.map((pair) => pair[side].metrics[metric.name]!);
      scores.set(filter === noFilter.name ? metric.name : `${metric.name},${filter}`, {
        metric,
        docIds: own.map(([sample]) => sample.doc_id),
        base: valuesOf(0),
        compressed: valuesOf(1),
      });
    }
  }
  return scores;
}

/** Groups before their members, each with the metrics that it reports. */
function compareGroups(base: EvaluationRecord, scores: ReadonlyMap<string, TaskScores>): AccuracyRow[] {
  return Object.keys(base.groups ?? {}).flatMap((group) => {
    const leaves = leavesOf(base, group).flatMap((task) => scores.get(task) ?? []);
    return reportedKeys(base, group).flatMap((key) => {
      const [metric = "", filter] = key.split(",");
      const name = filter === noFilter.name ? metric : key;
      const members = leaves.flatMap((task) => task.get(name) ?? []);
      if (members.length === 0) return [];
      const row = compareMetric(members, isWeightedBySize(base, group, key));
      return [{ task: group, parent: parentOf(base, group), metric: name, ...row }];
    });
  });
}

function leavesOf(
  { group_subtasks: subtasks }: Pick<EvaluationRecord, "group_subtasks">,
  group: string,
): string[] {
  return (subtasks[group] ?? []).flatMap((member) =>
    (subtasks[member]?.length ?? 0) > 0 ? leavesOf({ group_subtasks: subtasks }, member) : [member],
  );
}

function parentOf({ group_subtasks: subtasks, groups }: EvaluationRecord, name: string): string | null {
  const parents = Object.keys(groups ?? {});
  return parents.find((group) => subtasks[group]?.includes(name)) ?? null;
}

function reportedKeys({ groups }: EvaluationRecord, group: string): string[] {
  return Object.keys(groups?.[group] ?? {}).filter((key) => key.includes(",") && !key.includes("_stderr,"));
}

/** A results file does not say how a group's tasks are weighted; its own value does. */
function isWeightedBySize(record: EvaluationRecord, group: string, key: string): boolean {
  const rows = leavesOf(record, group).flatMap((task) => {
    const row = record.results[task];
    return row === undefined ? [] : [row];
  });
  const having = rows.filter((row) => typeof row[key] === "number");
  const values = having.map((row) => Number(row[key]));
  const weighted = weightedMean(
    values,
    having.map((row) => Number(row["sample_len"])),
  );
  const told = Number(record.groups?.[group]?.[key]);
  return Math.abs(weighted - told) <= Math.abs(mean(values) - told);
}
