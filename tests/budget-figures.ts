import type { BudgetFigures } from "../src/records/budget-search.ts";

/** Figures of a candidate that is good in all, but for `changes`. */
export function budgetFigures(changes: Partial<BudgetFigures> = {}): BudgetFigures {
  return {
    sizeBytes: 100e6,
    kl: 0.02,
    klError: 0.001,
    topAgreement: 0.95,
    perplexityRatio: 1.02,
    tokensPerSecond: { "1": 20, "16": 60 },
    speedup: 1.4,
    peakMemoryBytes: 300e6,
    recovery: { arc_easy: 0.99 },
    ...changes,
  };
}
