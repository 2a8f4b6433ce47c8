import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { GrammarJudge } from "../../tests/grammar-judge.ts";
import { integerRange, numberRange, rangeRules } from "./number-range.ts";

/** The few forms of EBNF that ranges use, as an expression of JavaScript. */
function toRegExp(grammar: string | null): RegExp {
  if (grammar === null) return /(?!)/;
  const rules = new Map(rangeRules.split("\n").map((rule) => rule.split(" ::= ") as [string, string]));
  let flat = grammar;
  for (let depth = 0; depth < 3; depth += 1) {
    flat = flat.replaceAll(/\b(fraction|someFraction)\b/g, (name) => `(${rules.get(name)!})`);
  }
  const text = flat.replaceAll(/"([^"]*)"/g, (_, literal: string) => literal.replaceAll(".", "\\."));
  return new RegExp(`^(?:${text.replaceAll(" ", "")})$`);
}

const bound = fc.oneof(fc.integer({ min: -1300, max: 1300 }), fc.constantFrom(0, -1, 9, 10, 99, 100, 1000));
const spelled = ["-", "00", "05", "+1", "", "1.", ".5", "-01"];

test("an integer range is every whole number between its bounds and nothing else", () => {
  fc.assert(
    fc.property(fc.option(bound, { nil: -Infinity }), fc.option(bound, { nil: Infinity }), (low, high) => {
      const range = toRegExp(integerRange(low, high));
      for (let n = -1500; n <= 1500; n += 1)
        expect(range.test(String(n)), String(n)).toBe(n >= low && n <= high);
      for (const text of spelled) expect(range.test(text), text).toBe(false);
    }),
    { numRuns: 60, seed: 1 },
  );
});

test("a number range takes fractions up to its bounds, which may be outside themselves", () => {
  fc.assert(
    fc.property(bound, bound, fc.boolean(), fc.boolean(), (lowest, highest, isOpenBelow, isOpenAbove) => {
      const range = toRegExp(numberRange({ lowest, highest, isOpenBelow, isOpenAbove }));
      for (const whole of [lowest, highest, 0, lowest + 1, highest - 1, lowest - 1, highest + 1, 5, -5]) {
        for (const text of [`${whole}`, `${whole}.5`, `${whole}.001`]) {
          const n = Number(text);
          const isIn = (isOpenBelow ? n > lowest : n >= lowest) && (isOpenAbove ? n < highest : n <= highest);
          expect(range.test(text), `${text} in ${lowest} … ${highest}`).toBe(isIn);
        }
      }
      for (const text of spelled) expect(range.test(text), text).toBe(false);
    }),
    { numRuns: 400, seed: 1 },
  );
});

describe("the library", () => {
  const judge = new GrammarJudge();
  afterAll(() => judge.close());

  test("lets through what the range says", { timeout: 60_000 }, async () => {
    const bounds = [-Infinity, -668, -57, -1, 0, 99, 494, 1999, Infinity];
    const near = [-9999, -669, -668, -667, -101, -99, -58, -57, -10, -1, 0, 1, 5, 9, 10, 98, 99, 100];
    const numbers = [...near, 493, 494, 495, 999, 1000, 1999, 2000, 12_345, 999_999_999_999_999];
    for (const low of bounds) {
      for (const high of bounds) {
        const range = integerRange(low, high);
        if (range === null || low === Infinity || high === -Infinity) continue;
        const accepts = await judge.judge(`root ::= ${range}\n${rangeRules}`);
        for (const n of numbers) {
          expect(accepts(String(n)), `${n} in ${low} … ${high}`).toBe(n >= low && n <= high);
        }
      }
    }
  });

  test("lets through fractions between the bounds", async () => {
    const range = numberRange({ lowest: -20, highest: 100, isOpenBelow: true, isOpenAbove: false })!;
    const accepts = await judge.judge(`root ::= ${range}\n${rangeRules}`);
    for (const text of ["-19.99", "-0.5", "0", "99.5", "100"]) expect(accepts(text), text).toBe(true);
    for (const text of ["-20", "100.5", "1000", "-20.5", "1."]) expect(accepts(text), text).toBe(false);
  });
});
