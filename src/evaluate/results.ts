import type { EvaluationRecord, EvaluationSample } from "../records/evaluation.ts";
import { noFilter } from "./filters/filter.ts";
import type { MetricDefinition, Score } from "./metrics/metric.ts";
import type { PreparedTask } from "./prepare-task.ts";
import { pooledError, weightedMean } from "./statistics.ts";
import type { GroupMetric, Task, TaskGroup } from "./task.ts";

/** A metric of one filter over all documents of a task. */
export interface AggregatedMetric {
  readonly metric: MetricDefinition;
  readonly filter: string;
  readonly value: number;
  readonly scores: readonly Score[];
}

/** Every metric of every filter, in the task's order. */
export function aggregateSamples(task: Task, samples: readonly EvaluationSample[]): AggregatedMetric[] {
  return filterNames(task).flatMap((filter) => {
    const own = samples.filter((sample) => sample.filter === filter);
    if (own.length === 0) return [];
    return task.metrics.map((metric) => {
      const scores = own.map((sample) => sample.metrics[metric.name]!);
      return { metric, filter, scores, value: metric.aggregation.value(scores) };
    });
  });
}

export function filterNames(task: Task): string[] {
  return task.kind === "generate_until" ? task.filters.map(({ name }) => name) : [noFilter.name];
}

type ResultRow = EvaluationRecord["results"][string];

type RunDescription = Pick<
  EvaluationRecord,
  | "results"
  | "groups"
  | "group_subtasks"
  | "configs"
  | "versions"
  | "n-shot"
  | "higher_is_better"
  | "n-samples"
>;

export interface RunSamples {
  readonly samples: Readonly<Record<string, readonly EvaluationSample[]>>;
  readonly numResamples: number;
}

/** What lm-eval's results file says of the tasks and groups of a run. */
export function describeRun(
  prepared: readonly PreparedTask[],
  groups: readonly TaskGroup[],
  { samples, numResamples }: RunSamples,
): RunDescription {
  const description: RunDescription = {
    results: {},
    groups: {},
    group_subtasks: {},
    configs: {},
    versions: {},
    "n-shot": {},
    higher_is_better: {},
    "n-samples": {},
  };
  for (const entry of prepared) {
    const { name } = entry.task;
    const own = samples[name] ?? [];
    description.results[name] = resultRow(entry.task, own, numResamples);
    description.group_subtasks[name] = [];
    description.configs[name] = describeTask(entry);
    description.versions[name] = entry.task.version;
    description["n-shot"][name] = entry.numShots;
    description.higher_is_better[name] = Object.fromEntries(
      entry.task.metrics.map((metric) => [metric.name, metric.higherIsBetter]),
    );
    description["n-samples"][name] = { original: entry.numDocuments, effective: entry.documents.length };
  }
  for (const group of groups) {
    const row = groupRow(group, groups, description.results);
    description.groups[group.name] = row;
    description.results[group.name] = row;
    description.group_subtasks[group.name] = [...group.members];
  }
  return description;
}

/** One entry of `results`: each metric with its standard error, "N/A" where there is none. */
export function resultRow(task: Task, samples: readonly EvaluationSample[], numResamples: number): ResultRow {
  const numDocuments = new Set(samples.map((sample) => sample.doc_id)).size;
  const row: ResultRow = { alias: task.name, sample_len: numDocuments };
  for (const { metric, filter, value, scores } of aggregateSamples(task, samples)) {
    row[`${metric.name},${filter}`] = value;
    row[`${metric.name}_stderr,${filter}`] = metric.aggregation.standardError(scores, numResamples) ?? "N/A";
  }
  return row;
}

function describeTask({ task, split, numShots }: PreparedTask): Record<string, unknown> {
  return {
    task: task.name,
    split,
    output_type: task.kind,
    num_fewshot: numShots,
    description: task.prompt?.description ?? "",
    target_delimiter: task.prompt?.targetDelimiter ?? " ",
    fewshot_delimiter: task.prompt?.fewshotDelimiter ?? "\n\n",
    metric_list: task.metrics.map((metric) => ({
      metric: metric.name,
      higher_is_better: metric.higherIsBetter,
    })),
    ...(task.kind === "generate_until" ? { generation_kwargs: task.generation } : {}),
  };
}

/** A group's common values over the tasks below it, at any depth, that the run has. */
function groupRow(
  group: TaskGroup,
  groups: readonly TaskGroup[],
  results: RunDescription["results"],
): ResultRow {
  const rows = leavesOf(group, groups)
    .map((task) => results[task])
    .filter((each) => each !== undefined);
  const row: ResultRow = { alias: group.name, sample_len: rows.reduce((sum, each) => sum + sizeOf(each), 0) };
  for (const metric of group.metrics) Object.assign(row, groupValues(metric, rows));
  return row;
}

function leavesOf(group: TaskGroup, groups: readonly TaskGroup[]): string[] {
  return group.members.flatMap((member) => {
    const inner = groups.find(({ name }) => name === member);
    return inner === undefined ? [member] : leavesOf(inner, groups);
  });
}

function groupValues({ key, isWeightedBySize }: GroupMetric, rows: readonly ResultRow[]): ResultRow {
  const [metric, filter] = key.split(",");
  const errorKey = `${metric}_stderr,${filter}`;
  const having = rows.filter((row) => typeof row[key] === "number");
  if (having.length === 0) return {};
  const sizes = having.map(sizeOf);
  const values = having.map((row) => row[key] as number);
  const errors = having.map((row) => row[errorKey]);
  const areKnown = errors.every((error) => typeof error === "number");
  return {
    [key]: weightedMean(values, isWeightedBySize ? sizes : sizes.map(() => 1)),
    [errorKey]: areKnown ? pooledError(errors as number[], sizes) : "N/A",
  };
}

function sizeOf(row: ResultRow): number {
  return Number(row["sample_len"]);
}
