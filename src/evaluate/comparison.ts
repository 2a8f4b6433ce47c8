import { MillraceError } from "../base/errors.ts";
import type { EvaluationRecord, EvaluationSample } from "../records/evaluation.ts";
import { metricsOf } from "./metrics.ts";
import { bootstrapInterval, type Interval, mcnemarExact, mean } from "./statistics.ts";
import { findTask } from "./task-registry.ts";

/** One metric of one task, base against candidate, over the same documents. */
export interface MetricComparison {
  readonly task: string;
  readonly metric: string;
  readonly higherIsBetter: boolean;
  readonly numDocuments: number;
  readonly base: number;
  readonly candidate: number;
  /** candidate / base, or base / candidate where lower is better: 1 is no loss. Null when the divisor is 0. */
  readonly recovery: number | null;
  /** 95 % interval of the recovery by paired bootstrap over documents; null where the recovery is. */
  readonly recoveryInterval: Interval | null;
  /** Documents right in the base and wrong in the candidate, and the reverse; null for perplexities. */
  readonly flips: { readonly lost: number; readonly gained: number } | null;
  /** Two-sided p-value of McNemar's exact test; null for perplexities. */
  readonly pValue: number | null;
  /** "different" when p < 0.05 (or the interval leaves out 1); else nothing is shown. */
  readonly verdict: "different" | "undetermined";
}

/**
 * Compares two runs document by document. Throws `invalid_data_file` when a task of both was run on different
 * documents or prompts: a difference would then mean nothing.
 */
export function compareEvaluations(base: EvaluationRecord, candidate: EvaluationRecord): MetricComparison[] {
  return Object.keys(base.samples)
    .filter((task) => candidate.samples[task] !== undefined)
    .flatMap((task) => {
      const pair = pairSamples(task, base.samples[task]!, candidate.samples[task]!);
      return metricsOf(findTask(task).kind).map((metric) =>
        typeof pair.base[0]?.metrics[metric.name] === "number"
          ? compareShares(pair, metric.name)
          : comparePerplexities(pair, metric.name),
      );
    });
}

interface SamplePair {
  readonly task: string;
  readonly base: readonly EvaluationSample[];
  readonly candidate: readonly EvaluationSample[];
}

function pairSamples(
  task: string,
  base: readonly EvaluationSample[],
  candidate: readonly EvaluationSample[],
): SamplePair {
  const differs = base.findIndex((sample, i) => sample.prompt_hash !== candidate[i]?.prompt_hash);
  if (base.length === candidate.length && base.length > 0 && differs < 0) return { task, base, candidate };
  throw new MillraceError(
    "invalid_data_file",
    `The two runs of ${task} have ${base.length} and ${candidate.length} documents${differs < 0 ? "" : `, and document ${differs} differs`}. A comparison needs the same ones. Run both with the same data, --split and --limit.`,
  );
}

function compareShares(pair: SamplePair, metric: string): MetricComparison {
  const before = pair.base.map((sample) => sample.metrics[metric] as number);
  const after = pair.candidate.map((sample) => sample.metrics[metric] as number);
  const lost = before.filter((value, i) => value > after[i]!).length;
  const gained = before.filter((value, i) => value < after[i]!).length;
  const pValue = mcnemarExact(lost, gained);
  const ratio = (rows: Int32Array): number => {
    let numerator = 0;
    let denominator = 0;
    for (const row of rows) {
      numerator += after[row]!;
      denominator += before[row]!;
    }
    return numerator / denominator;
  };
  const base = mean(before);
  return {
    task: pair.task,
    metric,
    higherIsBetter: true,
    numDocuments: before.length,
    base,
    candidate: mean(after),
    recovery: base === 0 ? null : mean(after) / base,
    recoveryInterval: base === 0 ? null : bootstrapInterval(before.length, ratio),
    flips: { lost, gained },
    pValue,
    verdict: pValue < 0.05 ? "different" : "undetermined",
  };
}

function comparePerplexities(pair: SamplePair, name: string): MetricComparison {
  const metric = metricsOf("rolling").find((known) => known.name === name)!;
  const before = pair.base.map((sample) => sample.metrics[name]!);
  const after = pair.candidate.map((sample) => sample.metrics[name]!);
  const base = metric.aggregate(before);
  const candidate = metric.aggregate(after);
  const ratio = (rows: Int32Array): number => {
    const pick = (values: typeof before): typeof before => Array.from(rows, (row) => values[row]!);
    return metric.aggregate(pick(before)) / metric.aggregate(pick(after));
  };
  const interval = bootstrapInterval(before.length, ratio);
  return {
    task: pair.task,
    metric: name,
    higherIsBetter: false,
    numDocuments: before.length,
    base,
    candidate,
    recovery: base / candidate,
    recoveryInterval: interval,
    flips: null,
    pValue: null,
    verdict: before.length > 1 && (interval.low > 1 || interval.high < 1) ? "different" : "undetermined",
  };
}
