import { expect, test } from "vitest";
import type { BudgetSearch } from "../../records/budget-search.ts";
import { describeSearch } from "./describe-search.ts";

function searchFor(budget: readonly string[], chosen: string | null = "q4_0"): BudgetSearch {
  const figures = { kl: 0.048_61, klError: 0.002_6, perplexityRatio: 1.0123, sizeBytes: 80e6, recovery: {} };
  return {
    budget,
    chosen,
    text: { file: "wiki.txt", sha256: "", numTokens: 1 },
    trials: [{ name: "q4_0", figures, broken: [] }],
  } as unknown as BudgetSearch;
}

test("tells KL with its error, the figure of each other limit, and the limits", () => {
  expect(describeSearch(searchFor(["kl<=0.05"]))).toEqual({
    text: "KL 0.0486 ± 0.0026 on wiki.txt, within kl<=0.05",
    isBounded: true,
  });
  expect(describeSearch(searchFor(["kl<=0.05", "ppl<=1.02x"]))?.text).toBe(
    "KL 0.0486 ± 0.0026 on wiki.txt, ppl 1.012x, within kl<=0.05, ppl<=1.02x",
  );
});

test("a limit of size bounds no quality; a search that took nothing tells nothing", () => {
  expect(describeSearch(searchFor(["size<=95MB"]))?.isBounded).toBe(false);
  expect(describeSearch(searchFor(["kl<=0.05"], null))).toBeNull();
});
