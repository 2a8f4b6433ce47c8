import type { BudgetSearch } from "../../records/budget-search.ts";
import { boundsQuality, describeFigure, parseBudget } from "./budget.ts";

/** What the search of a budget showed of the quality of the form that it took. */
export interface BudgetEvidence {
  /** `KL 0.0486 ± 0.0026 on wiki.txt, within kl<=0.05`. */
  readonly text: string;
  /** Whether the budget has a limit of quality, which then is kept. */
  readonly isBounded: boolean;
}

/** The evidence of a search; null where it took nothing. */
export function describeSearch({ trials, chosen, budget, text }: BudgetSearch): BudgetEvidence | null {
  const trial = trials.find(({ name }) => name === chosen);
  if (trial === undefined) return null;
  const { kl, klError } = trial.figures;
  const limits = parseBudget(budget.join(","));
  const error = klError === null ? "" : ` ± ${klError.toPrecision(2)}`;
  const others = limits.terms
    .filter(({ metric }) => metric !== "kl")
    .map((term) => describeFigure(term, trial.figures));
  const figures = [`KL ${kl.toPrecision(3)}${error} on ${text.file}`, ...others];
  return { text: `${figures.join(", ")}, within ${budget.join(", ")}`, isBounded: boundsQuality(limits) };
}
