import type { BudgetFigures } from "../../records/budget-search.ts";
import { type Budget, boundsQuality, brokenTerms } from "./budget.ts";
import type { Candidate } from "./ladder.ts";

/** Gives a candidate's figures, the same ones however often it is asked. */
export type Measure = (candidate: Candidate) => Promise<BudgetFigures>;

/**
 * Finds the candidate that a budget asks for among candidates that are sorted by size: the smallest that keeps what the
 * budget asks for, or, where it asks for nothing to be kept, the one with the least KL.
 *
 * Quality is taken to rise with size within a family, and nowhere else: a family has one place where quality begins to
 * suffice, which halved intervals find, and the largest of it that fits is its best. Null where none fits; then every one
 * whose size is within the budget was measured.
 */
export async function findWithin(
  candidates: readonly Candidate[],
  budget: Budget,
  measure: Measure,
): Promise<Candidate | null> {
  const sizeLimit = sizeLimitOf(budget);
  const allowed = candidates.filter(({ sizeBytes }) => sizeBytes <= sizeLimit);
  const names = new Set(allowed.map(({ family }) => family));
  const families = [...names].map((name) => allowed.filter(({ family }) => family === name));
  if (!boundsQuality(budget)) return bestOf(families, budget, measure);
  const found = await smallestOf(families, budget, measure);
  // Where a family breaks the rule, what halving has passed over may fit.
  return found ?? firstWithin(allowed, budget, measure);
}

export function sizeLimitOf({ terms }: Budget): number {
  return terms.find(({ metric }) => metric === "size")?.limit ?? Infinity;
}

async function smallestOf(
  families: readonly (readonly Candidate[])[],
  budget: Budget,
  measure: Measure,
): Promise<Candidate | null> {
  const quality: Budget = {
    terms: budget.terms.filter(({ metric }) => metric !== "size" && metric !== "speed"),
  };
  let smallest: Candidate | null = null;
  for (const family of families) {
    const limit: number = smallest?.sizeBytes ?? Infinity;
    const smaller = family.filter(({ sizeBytes }) => sizeBytes < limit);
    let low = 0;
    let high = smaller.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (brokenTerms(quality, await measure(smaller[middle]!)).length === 0) high = middle;
      else low = middle + 1;
    }
    // Upwards for what speed rules out.
    smallest = (await firstWithin(smaller.slice(high), budget, measure)) ?? smallest;
  }
  return smallest;
}

async function bestOf(
  families: readonly (readonly Candidate[])[],
  budget: Budget,
  measure: Measure,
): Promise<Candidate | null> {
  let best: Candidate | null = null;
  let least = Infinity;
  for (const family of families) {
    const largest = await firstWithin(family.toReversed(), budget, measure);
    if (largest === null) continue;
    const { kl } = await measure(largest);
    if (!(kl < least)) continue;
    best = largest;
    least = kl;
  }
  return best;
}

async function firstWithin(
  candidates: readonly Candidate[],
  budget: Budget,
  measure: Measure,
): Promise<Candidate | null> {
  for (const candidate of candidates) {
    if (brokenTerms(budget, await measure(candidate)).length === 0) return candidate;
  }
  return null;
}
