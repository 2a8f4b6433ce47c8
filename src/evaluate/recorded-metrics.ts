import { MillraceError } from "../base/errors.ts";
import type { EvaluationRecord } from "../records/evaluation.ts";
import { classMetrics } from "./metrics/classification.ts";
import { type MetricDefinition, plainAggregations } from "./metrics/metric.ts";

const aggregations = [...plainAggregations, ...classMetrics.map(({ aggregation }) => aggregation)];

/**
 * The metrics of a task's samples, as the record describes them; what it leaves out is a mean, as in lm-eval. Throws
 * `evaluation_unsupported` for an aggregation that is not known here.
 */
export function recordedMetrics(record: EvaluationRecord, task: string): MetricDefinition[] {
  const listed = record.configs[task]?.metric_list ?? [];
  const names = Object.keys(record.samples[task]?.[0]?.metrics ?? {});
  return names.map((name) => {
    const entry = listed.find(({ metric }) => metric === name);
    const told = entry?.aggregation ?? (name === "perplexity" ? name : "mean");
    // lm-eval writes an aggregation that a task brings along as its Python source.
    const known = aggregations.find((each) => told === each.name || told.includes(`def ${each.name}(`));
    if (known === undefined) {
      throw new MillraceError(
        "evaluation_unsupported",
        `Metric ${name} of task ${task} is aggregated by ${JSON.stringify(told.slice(0, 60))}, and only ${aggregations.map((each) => each.name).join(", ")} can be compared. Leave the task out.`,
      );
    }
    const direction = record.higher_is_better[task]?.[name] ?? entry?.higher_is_better;
    return { name, aggregation: known, higherIsBetter: direction ?? true };
  });
}
