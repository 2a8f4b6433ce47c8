import type { EvaluationSample } from "../records/evaluation.ts";
import { mean, standardError, sum } from "./statistics.ts";
import type { Task } from "./task.ts";

type Weighted = readonly [logLikelihood: number, weight: number];

/** How one metric is aggregated over documents. */
export interface Metric {
  readonly name: string;
  readonly higherIsBetter: boolean;
  readonly aggregate: (values: EvaluationSample["metrics"][string][]) => number;
  /** Null where the metric has no standard error. */
  readonly standardError: (values: EvaluationSample["metrics"][string][]) => number | null;
}

const share = (name: string): Metric => ({
  name,
  higherIsBetter: true,
  aggregate: (values) => mean(values as number[]),
  standardError: (values) => standardError(values as number[]),
});

const perWeight = (name: string, finish: (meanLogLikelihood: number) => number): Metric => ({
  name,
  higherIsBetter: false,
  aggregate: (values) => finish(weightedMean(values as Weighted[])),
  standardError: () => null,
});

const choiceMetrics: readonly Metric[] = [share("acc"), share("acc_norm")];
const rollingMetrics: readonly Metric[] = [
  perWeight("word_perplexity", (value) => Math.exp(-value)),
  perWeight("byte_perplexity", (value) => Math.exp(-value)),
  perWeight("bits_per_byte", (value) => -value / Math.LN2),
];

export function metricsOf(kind: Task["kind"]): readonly Metric[] {
  return kind === "rolling" ? rollingMetrics : choiceMetrics;
}

function weightedMean(values: readonly Weighted[]): number {
  return sum(values.map(([logLikelihood]) => logLikelihood)) / sum(values.map(([, weight]) => weight));
}
