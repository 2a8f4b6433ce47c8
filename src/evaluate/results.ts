import type { EvaluationResults, EvaluationSample } from "../records/evaluation.ts";
import { noFilter } from "./filters/filter.ts";
import type { MetricDefinition, Score } from "./metrics/metric.ts";
import type { PreparedTask } from "./prepare-task.ts";
import { defaultDelimiters } from "./prompts/build-prompt.ts";
import { sha256 } from "./sha256.ts";
import { pooledError, sum, weightedMean } from "./statistics.ts";
import { type GroupMetric, isProgramTask, type Task, type TaskGroup } from "./task.ts";

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

type ResultRow = EvaluationResults["results"][string];

type RunDescription = Pick<
  EvaluationResults,
  | "results"
  | "groups"
  | "group_subtasks"
  | "configs"
  | "versions"
  | "n-shot"
  | "higher_is_better"
  | "n-samples"
  | "task_hashes"
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
  const description = {
    results: {} as Record<string, ResultRow>,
    group_subtasks: Object.fromEntries(groups.map(({ name, members }) => [name, [...members]])),
    configs: {} as RunDescription["configs"],
    versions: {} as RunDescription["versions"],
    "n-shot": {} as Record<string, number>,
    higher_is_better: {} as Record<string, Record<string, boolean>>,
    "n-samples": {} as RunDescription["n-samples"],
    task_hashes: {} as Record<string, string>,
  };
  for (const entry of prepared) {
    const { name } = entry.task;
    const own = samples[name] ?? [];
    description.results[name] = resultRow(entry.task, own, numResamples);
    description.configs[name] = describeTask(entry);
    description.versions[name] = entry.task.version;
    description["n-shot"][name] = entry.numShots;
    description.higher_is_better[name] = Object.fromEntries(
      entry.task.metrics.map((metric) => [metric.name, metric.higherIsBetter]),
    );
    description["n-samples"][name] = { original: entry.numDocuments, effective: entry.documents.length };
    const hashes = own.map((each) => each.doc_hash + each.prompt_hash + each.target_hash);
    description.task_hashes[name] = sha256(hashes.join(""));
  }
  const groupRows: Record<string, ResultRow> = {};
  // Inner groups first: what all members share holds for their group too.
  for (const group of groups.toReversed()) {
    const row = groupRow(group, groups, description.results);
    if (group.metrics.length > 0) groupRows[group.name] = row;
    description.results[group.name] = row;
    description.versions[group.name] = group.version ?? null;
    describeMembers(group, description);
  }
  return { ...description, ...(Object.keys(groupRows).length === 0 ? {} : { groups: groupRows }) };
}

/** The number of shots of a group whose members agree, and the direction of each metric that they have. */
function describeMembers(
  { name, members }: TaskGroup,
  shared: {
    readonly "n-shot": Record<string, number>;
    readonly higher_is_better: Record<string, Record<string, boolean>>;
  },
): void {
  const counts = new Set(members.flatMap((member) => shared["n-shot"][member] ?? []));
  if (counts.size === 1) shared["n-shot"][name] = [...counts][0]!;
  const directions = Object.assign({}, ...members.map((member) => shared.higher_is_better[member] ?? {}));
  if (Object.keys(directions).length > 0) shared.higher_is_better[name] = directions;
}

/** One entry of `results`: each metric with its standard error, "N/A" where there is none. */
export function resultRow(task: Task, samples: readonly EvaluationSample[], numResamples: number): ResultRow {
  const numDocuments = new Set(samples.map((sample) => sample.doc_id)).size;
  const row: ResultRow = { name: task.name, alias: task.alias ?? task.name, sample_len: numDocuments };
  for (const { metric, filter, value, scores } of aggregateSamples(task, samples)) {
    row[`${metric.name},${filter}`] = value;
    row[`${metric.name}_stderr,${filter}`] = metric.aggregation.standardError(scores, numResamples) ?? "N/A";
  }
  return row;
}

/** The task's definition in lm-eval's words, as far as it is data. */
function describeTask({ task, split, numShots }: PreparedTask): EvaluationResults["configs"][string] {
  const isWriting = task.kind === "generate_until";
  return {
    task: task.name,
    test_split: split,
    unsafe_code: isProgramTask(task),
    description: task.prompt?.description ?? "",
    target_delimiter: task.prompt?.targetDelimiter ?? defaultDelimiters.target,
    fewshot_delimiter: task.prompt?.fewshotDelimiter ?? defaultDelimiters.fewshot,
    num_fewshot: numShots,
    metric_list: task.metrics.map((metric) => ({
      metric: metric.name,
      aggregation: metric.aggregation.name,
      higher_is_better: metric.higherIsBetter,
    })),
    output_type: task.kind,
    ...(isWriting ? { generation_kwargs: task.generation } : {}),
    repeats: isWriting ? (task.repeats ?? 1) : 1,
    ...(isWriting && task.filters.some(({ name }) => name !== noFilter.name)
      ? { filter_list: task.filters.map(({ name }) => ({ name })) }
      : {}),
    metadata: { version: task.version },
  };
}

/** A group's common values over the tasks below it, at any depth, that the run has. */
function groupRow(
  group: TaskGroup,
  groups: readonly TaskGroup[],
  results: RunDescription["results"],
): ResultRow {
  const named: ResultRow = { alias: group.alias ?? group.name, name: group.name };
  if (group.metrics.length === 0) return named;
  const rows = leavesOf(group, groups)
    .map((task) => results[task])
    .filter((each) => each !== undefined);
  const values: ResultRow = {};
  const counts: Record<string, number> = {};
  for (const metric of group.metrics) {
    const having = rows.filter((row) => typeof row[metric.key] === "number");
    if (having.length === 0) continue;
    Object.assign(values, groupValues(metric, having));
    counts[metric.key] = sum(having.map(sizeOf));
  }
  return { ...named, sample_len: sum(rows.map(sizeOf)), ...values, sample_count: counts };
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
  const sizes = rows.map(sizeOf);
  const values = rows.map((row) => row[key] as number);
  const errors = rows.map((row) => row[errorKey]);
  const areKnown = errors.every((error) => typeof error === "number");
  return {
    [key]: weightedMean(values, isWeightedBySize ? sizes : sizes.map(() => 1)),
    [errorKey]: areKnown ? pooledError(errors as number[], sizes) : "N/A",
  };
}

function sizeOf(row: ResultRow): number {
  return Number(row["sample_len"]);
}
