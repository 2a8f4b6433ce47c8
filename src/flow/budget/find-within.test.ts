import fc from "fast-check";
import { expect, test } from "vitest";
import { budgetFigures } from "../../../tests/budget-figures.ts";
import { brokenTerms, parseBudget } from "./budget.ts";
import { findWithin } from "./find-within.ts";
import type { Candidate } from "./ladder.ts";

/** KL of the members of families, smallest first; null where a family has none of that size. */
type Families = Readonly<Record<string, readonly (number | null)[]>>;

/** Candidates of 10, 20, … MB with the given KL, named by family and number; speed falls with size. */
function ladder(families: Families) {
  const kls = new Map<string, number>();
  const candidates: Candidate[] = [];
  for (const [family, members] of Object.entries(families)) {
    for (const [index, kl] of members.entries()) {
      if (kl === null) continue;
      const name = `${family}${index}`;
      kls.set(name, kl);
      candidates.push({
        name,
        recipe: { scheme: "w8a8", groupSize: null },
        sizeBytes: (index + 1) * 10e6,
        family,
      });
    }
  }
  candidates.sort((a, b) => a.sizeBytes - b.sizeBytes);
  const measured: string[] = [];
  const figuresOf = ({ name, sizeBytes }: Candidate) =>
    budgetFigures({ kl: kls.get(name)!, sizeBytes, speedup: 40e6 / sizeBytes });
  const find = (budget: string): Promise<Candidate | null> =>
    findWithin(candidates, parseBudget(budget), (candidate) => {
      if (!measured.includes(candidate.name)) measured.push(candidate.name);
      return Promise.resolve(figuresOf(candidate));
    });
  return { candidates, figuresOf, find, measured };
}

test("finds the smallest that keeps quality without measuring all", async () => {
  const { find, measured } = ladder({ a: [4, 2, 1, 0.5, 0.2, 0.1, 0.04, 0.02, 0.01, 0.005, 0.002, 0.001] });
  expect((await find("kl<=0.05"))?.name).toBe("a6");
  expect(measured).toContain("a5");
  expect(measured.length).toBeLessThanOrEqual(4);
});

test("finds it in whichever family, and looks at nothing that is larger than what was found", async () => {
  const { find, measured } = ladder({
    a: [4, null, 2, null, 1, null, 0.04],
    b: [null, 1, null, 0.5, null, 0.01, null, 0.001],
    c: [null, null, null, null, null, null, null, 0.02],
  });
  expect((await find("kl<=0.05"))?.name).toBe("b5");
  expect(measured).not.toContain("b7");
  expect(measured).not.toContain("c7");
});

const falling = fc.array(fc.option(fc.integer({ min: 1, max: 20 })), { maxLength: 9 }).map((members) => {
  const sorted = members.filter((kl) => kl !== null).toSorted((a, b) => b - a);
  return members.map((kl) => (kl === null ? null : sorted.shift()! / 100));
});

test("is the smallest of all that fit, where quality rises with size within each family", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({ a: falling, b: falling, c: falling }),
      fc.constantFrom("kl<=0.1", "kl<=0.05,size<=60MB", "kl<=0.15,speed>=0.7x"),
      async (families, budget) => {
        const { candidates, figuresOf, find } = ladder(families);
        const fits = candidates.filter(
          (candidate) => brokenTerms(parseBudget(budget), figuresOf(candidate)).length === 0,
        );
        expect((await find(budget))?.sizeBytes).toBe(fits[0]?.sizeBytes);
      },
    ),
  );
});

test("measures only what size allows, and finds what breaks the order", async () => {
  const { find, measured } = ladder({ a: [1, 0.04, 0.3, 0.2, 0.1, 0.01] });
  expect((await find("kl<=0.05,size<=50MB"))?.name).toBe("a1");
  expect(measured).not.toContain("a5");
});

test("takes the best of the largest of each family where nothing is to be kept", async () => {
  const { find, measured } = ladder({ a: [1, 0.5, 0.3, 0.2, null, 0.001], b: [2, 0.1], c: [Number.NaN] });
  expect((await find("size<=50MB"))?.name).toBe("b1");
  expect(measured.toSorted()).toEqual(["a3", "b1", "c0"]);
  expect((await find("size<=50MB,speed>=2x"))?.name).toBe("b1");
  expect((await find("size<=50MB,speed>=4x"))?.name).toBe("a0");
});

test("gives null when every candidate was measured and none fits", async () => {
  const { find, measured } = ladder({ a: [1, 0.5, 0.2, 0.1] });
  expect(await find("kl<=0.05")).toBeNull();
  expect(measured.toSorted()).toEqual(["a0", "a1", "a2", "a3"]);
  // Quality and speed exclude each other.
  expect(await find("kl<=0.1,speed>=2x")).toBeNull();
});
