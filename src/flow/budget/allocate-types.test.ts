import fc from "fast-check";
import { expect, test } from "vitest";
import { allocateTypes, type TypeGroup, type TypeOption } from "./allocate-types.ts";

const option = fc.record({
  type: fc.constant("Q4_0" as const),
  sizeBytes: fc.integer({ min: 1, max: 50 }),
  kl: fc.integer({ min: 1, max: 1000 }).map((value) => value / 1000),
});
const groups = fc.array(
  fc.array(option, { minLength: 1, maxLength: 4 }).map((options): TypeGroup => ({ modules: [], options })),
  { minLength: 1, maxLength: 4 },
);

/** Every way to choose one option of each group. */
function combinations([first, ...rest]: readonly TypeGroup[]): TypeOption[][] {
  if (first === undefined) return [[]];
  return combinations(rest).flatMap((others) => first.options.map((own) => [own, ...others]));
}

const sizeOf = (choices: readonly TypeOption[]): number =>
  choices.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const klOf = (choices: readonly TypeOption[]): number => choices.reduce((sum, { kl }) => sum + kl, 0);

test("no choice of types is both no larger and better than one that is given", () => {
  fc.assert(
    fc.property(groups, (given) => {
      const all = combinations(given);
      for (const { sizeBytes, kl, choices } of allocateTypes(given)) {
        expect(sizeBytes).toBe(sizeOf(choices));
        const better = all.filter((other) => sizeOf(other) <= sizeBytes && klOf(other) < kl - 1e-9);
        expect(better).toEqual([]);
      }
    }),
  );
});

test("begins with the fewest bytes and ends with the least KL", () => {
  fc.assert(
    fc.property(groups, (given) => {
      const all = combinations(given);
      const found = allocateTypes(given);
      expect(found[0]!.sizeBytes).toBe(Math.min(...all.map(sizeOf)));
      expect(found.at(-1)!.kl).toBeCloseTo(Math.min(...all.map(klOf)), 9);
      expect(found.map(({ sizeBytes }) => sizeBytes)).toEqual(
        found.map(({ sizeBytes }) => sizeBytes).toSorted((a, b) => a - b),
      );
    }),
  );
});
