import { expect, test } from "vitest";
import { budgetFigures as figures } from "../../../tests/budget-figures.ts";
import { MillraceError } from "../../base/errors.ts";
import { brokenTerms, parseBudget } from "./budget.ts";

test("reads every kind of condition", () => {
  const { terms } = parseBudget("kl<=0.05, ppl <= 1.01x,recovery>=99% on arc_easy, size<=95MB,speed>=1.5x");
  expect(terms.map(({ metric, limit, task }) => [metric, limit, task])).toEqual([
    ["kl", 0.05, null],
    ["ppl", 1.01, null],
    ["recovery", 0.99, "arc_easy"],
    ["size", 95e6, null],
    ["speed", 1.5, null],
  ]);
});

test.each([
  ["", "no condition"],
  ["kl", "no condition"],
  ["kl>=0.05", "takes <="],
  ["speed<=2x", "takes >="],
  ["kl<=0", "no limit above 0"],
  ["kl<=low", "no limit above 0"],
  ["ppl<=1.01", "no limit above 0"],
  ["recovery>=99%", "no limit above 0"],
  ["size<=many", "size such as"],
  ["size<=95", "has no unit"],
  ["kl<=0.1,kl<=0.2", "second limit"],
  ["constructor<=1", "no condition"],
])("refuses %j", (text, problem) => {
  expect(() => parseBudget(text)).toThrow(problem);
  expect(() => parseBudget(text)).toThrow(MillraceError);
});

test("says which conditions figures break, and breaks those that were not measured", () => {
  const broken = (text: string, changes: Parameters<typeof figures>[0] = {}): readonly string[] =>
    brokenTerms(parseBudget(text), figures(changes)).map((term) => term.text);
  expect(broken("kl<=0.02,ppl<=1.01x,size<=95MB,speed>=1.5x")).toEqual([
    "ppl<=1.01x",
    "size<=95MB",
    "speed>=1.5x",
  ]);
  expect(broken("recovery>=99% on arc_easy")).toEqual([]);
  expect(broken("recovery>=99% on mmlu")).toEqual(["recovery>=99% on mmlu"]);
  expect(broken("speed>=1x", { speedup: null })).toEqual(["speed>=1x"]);
  expect(broken("kl<=1", { kl: Number.NaN })).toEqual(["kl<=1"]);
});
