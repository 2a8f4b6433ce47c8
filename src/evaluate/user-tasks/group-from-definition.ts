import { filterNames } from "../results.ts";
import type { GroupMetric, Task, TaskGroup } from "../task.ts";
import { type Definition, invalidTask } from "./definition.ts";
import { pythonStr } from "./python-literal.ts";
import { isObject } from "./task-keys.ts";

const groupKeys = ["group", "group_alias", "task", "aggregate_metric_list", "metadata"];

/**
 * A group of a definition in lm-eval's form. Its metrics are those of `aggregate_metric_list`, behind every filter that a
 * member has where the list names none. Throws `invalid_task`.
 *
 * @param members names of the members, in order
 * @param leaves the tasks below the group at any depth
 */
export function groupFromDefinition(
  { file, entries }: Definition,
  members: readonly string[],
  leaves: readonly Task[],
): TaskGroup {
  for (const [key, { where }] of entries) {
    if (groupKeys.includes(key)) continue;
    throw invalidTask(
      where,
      `has the key "${key}", which no group has`,
      `A group takes ${groupKeys.join(", ")}`,
    );
  }
  const alias = entries.get("group_alias")?.value;
  const metadata = entries.get("metadata")?.value;
  const version = isObject(metadata) ? metadata["version"] : undefined;
  const listed = entries.get("aggregate_metric_list");
  const list = Array.isArray(listed?.value) ? (listed.value as unknown[]) : [listed?.value].filter(isObject);
  return {
    name: String(entries.get("group")!.value),
    summary: `from ${file}`,
    ...(typeof alias === "string" ? { alias } : {}),
    ...(version === undefined ? {} : { version: pythonStr(version) }),
    members,
    metrics: list.flatMap((entry) => groupMetrics(entry, leaves, listed!.where)),
  };
}

function groupMetrics(entry: unknown, leaves: readonly Task[], where: string): GroupMetric[] {
  const {
    metric,
    filter_list: filters,
    aggregation = "mean",
    weight_by_size: isWeightedBySize = true,
    ...rest
  } = isObject(entry) ? entry : {};
  const [stranger] = Object.keys(rest);
  if (
    typeof metric !== "string" ||
    aggregation !== "mean" ||
    typeof isWeightedBySize !== "boolean" ||
    stranger !== undefined
  ) {
    throw invalidTask(
      where,
      `aggregates by ${JSON.stringify(entry)}`,
      "An entry takes metric, filter_list, aggregation: mean and weight_by_size",
    );
  }
  const having = leaves.filter((task) => task.metrics.some(({ name }) => name === metric));
  if (having.length === 0)
    throw invalidTask(where, `aggregates ${metric}, which no member has`, "Name a member's metric");
  const all = new Set(having.flatMap(filterNames));
  const names = filters === undefined || filters === null ? all : [filters].flat();
  return Array.from(names, (filter) => ({ key: `${metric},${pythonStr(filter)}`, isWeightedBySize }));
}
