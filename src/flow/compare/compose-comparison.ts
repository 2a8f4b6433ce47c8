import { invariant } from "../../base/invariant.ts";
import { version } from "../../base/version.ts";
import type {
  ComparisonRecord,
  Measurement,
  Pair,
  SettingDifference,
  Variant,
} from "../../records/comparison.ts";
import type { EvaluationRecord } from "../../records/evaluation.ts";
import type { SloTerm } from "../../records/slo.ts";
import { pairVerdict } from "../../report/verdict.ts";
import type { BudgetEvidence } from "../budget/describe-search.ts";
import { compareAccuracy } from "../compare-accuracy.ts";
import { compareLevels } from "./compare-levels.ts";
import { compareLoads, type LoadedRun } from "./compare-loads.ts";
import { type Aim, recommend } from "./recommend.ts";

/** One of the things to compare, with all that was measured of it. */
export interface Subject {
  readonly variant: Variant;
  readonly evaluation: EvaluationRecord | null;
  readonly kvCache: LoadedRun["kvCache"];
  readonly measurements: readonly Measurement[];
}

interface Request {
  readonly title: string;
  readonly slo: readonly SloTerm[];
  readonly pricePerHour: number | null;
  readonly notes: readonly string[];
  /** What a recommendation is to aim at; null where there is none to make. */
  readonly aim: Aim | null;
}

/** Sets everything measured of several subjects beside each other; the first is what the others are compared with. */
export function composeComparison(subjects: readonly Subject[], request: Request): ComparisonRecord {
  const variants = subjects.map(({ variant }) => variant);
  const names = variants.map(({ name }) => name);
  invariant(new Set(names).size === names.length, `two variants of one name: ${names.join(", ")}`);
  const budgets = request.aim?.budgets ?? new Map<string, BudgetEvidence>();
  const pairs = subjects.slice(1).map((subject) => {
    const pair = pairOf(subjects[0]!, subject, subjects);
    return withEvidence(pair, budgets.get(pair.variant));
  });
  const load = compareLoads(
    subjects.map(({ variant, kvCache }) => ({ levels: variant.levels, kvCache })),
    request.slo,
  );
  return {
    kind: "comparison",
    title: request.title,
    recommendation: request.aim === null ? null : recommend({ variants, pairs, load }, request.aim),
    version,
    writtenAt: new Date().toISOString(),
    measurements: subjects.flatMap(({ measurements }) => measurements),
    variants,
    pairs,
    load,
    pricePerHour: request.pricePerHour,
    differences: differencesOf(variants),
    notes: [...request.notes],
  };
}

function pairOf(base: Subject, subject: Subject, all: readonly Subject[]): Pair {
  const accuracy =
    base.evaluation === null || subject.evaluation === null
      ? { accuracy: [], changed: [], unpaired: [] }
      : compareAccuracy(base.evaluation, subject.evaluation);
  const pair = {
    variant: subject.variant.name,
    ...accuracy,
    speed: compareLevels(
      base.variant.levels,
      subject.variant.levels,
      all.map(({ variant }) => variant.levels),
    ),
  };
  return { ...pair, verdict: pairVerdict(base.variant, subject.variant, pair) };
}

/** Where no tasks were asked, what a budget showed is what is known of the quality. */
function withEvidence(pair: Pair, evidence: BudgetEvidence | undefined): Pair {
  if (evidence === undefined || pair.accuracy.length > 0) return pair;
  const [_unknown, ...others] = pair.verdict;
  return { ...pair, verdict: [`Quality: ${evidence.text}.`, ...others] };
}

/** Settings that are not the same for all variants that have any. */
function differencesOf(variants: readonly Variant[]): SettingDifference[] {
  const told = variants.filter(({ settings }) => Object.keys(settings).length > 0);
  const names = [...new Set(told.flatMap(({ settings }) => Object.keys(settings)))];
  return names
    .filter((name) => new Set(told.map(({ settings }) => settings[name])).size > 1)
    .map((setting) => ({ setting, values: variants.map(({ settings }) => settings[setting] ?? null) }));
}
