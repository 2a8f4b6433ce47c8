import { expect, test } from "vitest";
import { budgetFigures } from "../../tests/budget-figures.ts";
import { budgetFiguresSchema } from "./budget-search.ts";

test("figures that are no numbers are read as they were written", () => {
  const nan = Number.NaN;
  const figures = budgetFigures({
    kl: nan,
    topAgreement: nan,
    perplexityRatio: nan,
    recovery: { mmlu: nan },
  });
  expect(budgetFiguresSchema.parse(JSON.parse(JSON.stringify(figures)))).toEqual(figures);
});
