import type { BenchStage, RateStage } from "../../records/bench.ts";
import type { Distribution } from "../../records/load-figures.ts";
import type { SloTerm } from "../../records/slo.ts";
import type { SloResult, SloVerdict } from "../../records/slo-search.ts";
import { samplesNeeded } from "../distribution.ts";

/** Requests behind a mean or a median that say enough. */
const fewSamples = 8;
/** No service level holds where more requests fail. */
const maxErrorShare = 0.01;
/** What that bound is called among the targets. */
export const errorTarget: string = `errors<=${100 * maxErrorShare}%`;
/** Two-sided 95 % point of the normal distribution. */
const normalQuantile = 1.96;

/** Requests without which no verdict on these bounds is possible. */
export function requestsForSlo(terms: readonly SloTerm[]): number {
  const needed: Readonly<Record<string, number>> = { mean: fewSamples, p50: fewSamples, ...samplesNeeded };
  return Math.max(...terms.map(({ statistic }) => needed[statistic]!));
}

/** Judges a stage by every bound, and by its errors. Times run from when requests were due, where they were. */
export function judgeStage(stage: BenchStage | RateStage, terms: readonly SloTerm[]): SloResult[] {
  const errorShare = stage.numRequests === 0 ? 1 : stage.numErrors / stage.numRequests;
  return [
    ...terms.map((term) => judgeTerm(stage, term)),
    {
      target: errorTarget,
      value: errorShare,
      limit: maxErrorShare,
      verdict: errorShare <= maxErrorShare ? "met" : "missed",
    },
  ];
}

/** All bounds together: missed where one is, met where all are. */
export function sloVerdict(results: readonly SloResult[]): SloVerdict {
  if (results.some(({ verdict }) => verdict === "missed")) return "missed";
  return results.every(({ verdict }) => verdict === "met") ? "met" : "undetermined";
}

function judgeTerm(stage: BenchStage | RateStage, { text, metric, statistic, maxMs }: SloTerm): SloResult {
  const distribution = distributionOf(stage, metric);
  const shared = { target: text, limit: maxMs };
  if (distribution === null) return { ...shared, value: null, verdict: "missed" };
  const value = distribution[statistic];
  const [low, high] = intervalOf(distribution, statistic) ?? [value, value];
  const isWeak = distribution.weak.some((name) => name === statistic);
  const verdict = high <= maxMs ? "met" : low > maxMs ? "missed" : "undetermined";
  return { ...shared, value, verdict: isWeak ? "undetermined" : verdict };
}

function distributionOf(stage: BenchStage | RateStage, metric: SloTerm["metric"]): Distribution | null {
  const isOpen = "requestRate" in stage;
  if (metric === "ttft") return isOpen ? stage.ttftFromDueMs : stage.ttftMs;
  if (metric === "e2e") return isOpen ? stage.e2eFromDueMs : stage.e2eMs;
  return metric === "itl" ? stage.itlMs : stage.tpotMs;
}

/** Null where there are enough samples for one bound of a percentile, not for two: its value alone decides then. */
function intervalOf(
  { mean, std, count, intervals }: Distribution,
  statistic: SloTerm["statistic"],
): readonly [number, number] | null {
  if (statistic !== "mean") return intervals[statistic];
  const half = (normalQuantile * std) / Math.sqrt(count);
  return [mean - half, mean + half];
}
