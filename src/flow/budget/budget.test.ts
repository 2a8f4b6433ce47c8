import { expect, test } from "vitest";
import { MillraceError } from "../../base/errors.ts";
import type { BudgetFigures } from "../../records/budget-search.ts";
import { brokenTerms, parseBudget } from "./budget.ts";
import type { Candidate } from "./ladder.ts";
import { findWithin } from "./search-budget.ts";

function figures(changes: Partial<BudgetFigures> = {}): BudgetFigures {
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
  ["kl<=0.1,kl<=0.2", "second limit"],
  ["constructor<=1", "no condition"],
])("refuses %j", (text, problem) => {
  expect(() => parseBudget(text)).toThrow(problem);
  expect(() => parseBudget(text)).toThrow(MillraceError);
});

test("says which conditions figures break, and breaks those that were not measured", () => {
  const broken = (text: string, changes: Partial<BudgetFigures> = {}): readonly string[] =>
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

/** Candidates of 10, 20, … MB with the given KL; speed falls with size. */
function ladder(kls: readonly number[]) {
  const measured: string[] = [];
  const candidates = kls.map(
    (_, i): Candidate => ({
      name: `c${i}`,
      recipe: { scheme: "w8a8", groupSize: null },
      sizeBytes: (i + 1) * 10e6,
    }),
  );
  const find = (budget: string): Promise<Candidate | null> =>
    findWithin(candidates, parseBudget(budget), ({ name, sizeBytes }) => {
      if (!measured.includes(name)) measured.push(name);
      const kl = kls[Number(name.slice(1))]!;
      return Promise.resolve(figures({ kl, sizeBytes, speedup: 40e6 / sizeBytes }));
    });
  return { find, measured };
}

test("finds the smallest that keeps quality without measuring all", async () => {
  const kls = [4, 2, 1, 0.5, 0.2, 0.1, 0.04, 0.02, 0.01, 0.005, 0.002, 0.001];
  const { find, measured } = ladder(kls);
  expect((await find("kl<=0.05"))?.name).toBe("c6");
  expect(measured).toContain("c5");
  expect(measured.length).toBeLessThanOrEqual(5);
});

test("looks at what is little smaller, where quality does not rise with size", async () => {
  // Halving goes by c23, c27, c25 and c26.
  const kls = Array.from({ length: 30 }, (_, index) => (index >= 27 || index === 24 ? 0.01 : 1));
  const { find, measured } = ladder(kls);
  expect((await find("kl<=0.05"))?.name).toBe("c24");
  expect(measured.length).toBeLessThanOrEqual(6);
});

test("measures only what size allows, and finds what breaks the order", async () => {
  const { find, measured } = ladder([1, 0.04, 0.3, 0.2, 0.1, 0.01]);
  expect((await find("kl<=0.05,size<=50MB"))?.name).toBe("c1");
  expect(measured).not.toContain("c5");
});

test("takes the best of the largest where nothing is to be kept", async () => {
  const { find, measured } = ladder([1, 0.5, 0.2, 0.1, 0.15, 0.01]);
  expect((await find("size<=50MB"))?.name).toBe("c3");
  expect(measured.toSorted()).toEqual(["c1", "c2", "c3", "c4"]);
});

test("gives null when every candidate was measured and none fits", async () => {
  const { find, measured } = ladder([1, 0.5, 0.2, 0.1]);
  expect(await find("kl<=0.05")).toBeNull();
  expect(measured.toSorted()).toEqual(["c0", "c1", "c2", "c3"]);
  // Quality and speed exclude each other.
  expect(await find("kl<=0.1,speed>=2x")).toBeNull();
});
