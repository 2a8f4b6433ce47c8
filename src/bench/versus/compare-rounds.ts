import { studentQuantile } from "../../base/quantiles.ts";
import type { BenchStage, RateStage } from "../../records/bench.ts";
import type { VersusRow } from "../../records/versus.ts";
import { bootstrapInterval, type Interval, momentsOf } from "../bootstrap-interval.ts";
import { generatorFor } from "../random.ts";
import { roundsNeeded } from "./rounds-needed.ts";

/** The figures of one leg: one server under one load, once. */
export type LegFigures = Readonly<Record<VersusRow["metric"], number | null>>;

/** Both servers twice, one after the other: A B B A, or B A A B. What drifts evenly falls out of their difference. */
export interface Round {
  readonly a: readonly [LegFigures, LegFigures];
  readonly b: readonly [LegFigures, LegFigures];
}

export interface VerdictLimits {
  /** A ratio this close to 1 is as good as equal, such as 0.02. */
  readonly margin: number;
  /** The relative difference that is to be found, such as 0.05. */
  readonly effect: number;
}

/** Metrics of a comparison, and whether more of it is better. */
export const versusMetrics: Readonly<Record<VersusRow["metric"], boolean>> = {
  outputTokensPerSecond: true,
  ttftMs: false,
  tpotMs: false,
  e2eMs: false,
};
const metricNames = Object.keys(versusMetrics) as VersusRow["metric"][];

/** Where resamples are drawn, so that one comparison always gives one verdict. */
const bootstrapSeed = 0xb007;

/** Means of a stage. Where requests were due, times count from then. */
export function legFigures(stage: BenchStage | RateStage): LegFigures {
  const isOpen = "requestRate" in stage;
  return {
    outputTokensPerSecond: stage.outputTokensPerSecond,
    ttftMs: (isOpen ? stage.ttftFromDueMs : stage.ttftMs)?.mean ?? null,
    tpotMs: stage.tpotMs?.mean ?? null,
    e2eMs: (isOpen ? stage.e2eFromDueMs : stage.e2eMs)?.mean ?? null,
  };
}

/** B against A in every metric that all legs have, each with its 95 % interval, noise floor and verdict. */
export function compareRounds(rounds: readonly Round[], limits: VerdictLimits): VersusRow[] {
  return metricNames.flatMap((metric) => compareMetric(metric, rounds, limits) ?? []);
}

function compareMetric(
  metric: VersusRow["metric"],
  rounds: readonly Round[],
  { margin, effect }: VerdictLimits,
): VersusRow | null {
  const logs = rounds.map(({ a, b }) => [...a, ...b].map((leg) => Math.log(leg[metric] ?? Number.NaN)));
  if (logs.length < 2 || !logs.flat().every(Number.isFinite)) return null;
  const differences = logs.map(([a1, a2, b1, b2]) => (b1! + b2! - a1! - a2!) / 2);
  const interval = bootstrapInterval(differences, generatorFor(bootstrapSeed, rounds.length));
  const { mean } = momentsOf(differences);
  const numNeeded = roundsNeeded(differences, Math.log1p(effect));
  return {
    metric,
    a: geometricMean(logs.flatMap(([a1, a2]) => [a1!, a2!])),
    b: geometricMean(logs.flatMap(([, , b1, b2]) => [b1!, b2!])),
    ratio: Math.exp(mean),
    ratioLow: interval === null ? null : Math.exp(interval.low),
    ratioHigh: interval === null ? null : Math.exp(interval.high),
    noiseFloor: Math.expm1(noiseFloorOf(logs)),
    numRounds: rounds.length,
    roundsNeeded: numNeeded,
    verdict: verdictOf(interval, margin, versusMetrics[metric]),
  };
}

/**
 * How far two equal servers would seem apart (95 %), from legs of the same server beside each other: each round holds two
 * such pairs. The difference of B and A is that of two means of two legs, so it has half of a pair's variance.
 */
function noiseFloorOf(logs: readonly (readonly number[])[]): number {
  const pairs = logs.flatMap(([a1, a2, b1, b2]) => [a2! - a1!, b2! - b1!]);
  const variance = pairs.reduce((sum, pair) => sum + pair ** 2, 0) / pairs.length;
  return studentQuantile(pairs.length) * Math.sqrt(variance / 2 / logs.length);
}

function geometricMean(logs: readonly number[]): number {
  return Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length);
}

function verdictOf(interval: Interval | null, margin: number, moreIsBetter: boolean): VersusRow["verdict"] {
  if (interval === null) return "undetermined";
  const bound = Math.log1p(margin);
  if (interval.low >= -bound && interval.high <= bound) return "equivalent";
  if (interval.low <= 0 && interval.high >= 0) return "undetermined";
  return interval.mean > 0 === moreIsBetter ? "better" : "worse";
}
