import { normalQuantile } from "../../base/quantiles.ts";
import type { BenchStage, RateStage } from "../../records/bench.ts";
import type { Distribution } from "../../records/load-figures.ts";
import { boundingStatistic, errorBound, maxErrorShare, type SloTerm } from "../../records/slo.ts";
import type { SloResult, SloVerdict } from "../../records/slo-search.ts";
import { samplesOfInterval, weakPercentiles } from "../distribution.ts";

/** Requests behind a mean or a median that say enough. */
const fewSamples = 8;

/** Requests without which no verdict on these bounds is possible. */
export function requestsForSlo(terms: readonly SloTerm[]): number {
  const needed: Readonly<Record<string, number>> = { mean: fewSamples, ...samplesOfInterval };
  return Math.max(fewSamples, ...terms.map(({ statistic }) => needed[statistic]!));
}

/** Judges a stage by every bound, and by its errors. Times run from when requests were due, where they were. */
export function judgeStage(stage: BenchStage | RateStage, terms: readonly SloTerm[]): SloResult[] {
  const errorShare = stage.numRequests === 0 ? 1 : stage.numErrors / stage.numRequests;
  return [
    ...terms.map((term) => judgeTerm(stage, term)),
    {
      target: errorBound,
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
  const numSamples = metric === "itl" ? Math.min(distribution.count, numGoodOf(stage)) : distribution.count;
  const boundsOf = (name: SloTerm["statistic"]): readonly [number, number] | null =>
    weakPercentiles(numSamples).some((weak) => weak === name)
      ? null
      : (intervalOf(distribution, name, numSamples) ?? outermost(distribution));
  // What was cut off may have been the slowest: a bound holds only where it would hold with that.
  const bounding = boundingStatistic(statistic, stage);
  const high = bounding === null ? undefined : boundsOf(bounding)?.[1];
  if (high !== undefined && high <= maxMs) return { ...shared, value, verdict: "met" };
  const low = boundsOf(statistic)?.[0];
  return { ...shared, value, verdict: low !== undefined && low > maxMs ? "missed" : "undetermined" };
}

function distributionOf(stage: BenchStage | RateStage, metric: SloTerm["metric"]): Distribution | null {
  const isOpen = "requestRate" in stage;
  if (metric === "ttft") return isOpen ? stage.ttftFromDueMs : stage.ttftMs;
  if (metric === "e2e") return isOpen ? stage.e2eFromDueMs : stage.e2eMs;
  return metric === "itl" ? stage.itlMs : stage.tpotMs;
}

function numGoodOf({ numRequests, numErrors, numCensored }: BenchStage | RateStage): number {
  return numRequests - numErrors - numCensored;
}

/**
 * 95 % interval of a statistic as of `numSamples` independent samples: that of all samples, wider by the root of how many
 * more these are. Gaps between tokens are not independent: those of one request follow each other, and one step of the
 * server makes a gap for every request of its batch, so that a thousand gaps of ten requests tell about as much as ten.
 * Null for a percentile of too few samples.
 */
function intervalOf(
  distribution: Distribution,
  statistic: SloTerm["statistic"],
  numSamples: number,
): readonly [number, number] | null {
  const { mean, std, count, intervals } = distribution;
  if (statistic === "mean") {
    const half = (normalQuantile * std) / Math.sqrt(numSamples);
    return [mean - half, mean + half];
  }
  const whole = intervals[statistic];
  if (whole === null) return null;
  const [value, wider] = [distribution[statistic], Math.sqrt(count / numSamples)];
  return [value - wider * (value - whole[0]), value + wider * (whole[1] - value)];
}

/**
 * Bounds of a percentile of enough samples for one bound and too few for two: above it the greatest sample, which is what
 * `samplesNeeded` stands for; below it where the median's interval begins.
 */
function outermost({ min, max, intervals }: Distribution): readonly [number, number] {
  return [intervals.p50?.[0] ?? min, max];
}
