import fc from "fast-check";
import { expect, test } from "vitest";
import { coveringArray, fullProduct } from "./covering-array.ts";

const dimensionsOf = (sizes: readonly number[]): Record<string, number[]> =>
  Object.fromEntries(sizes.map((size, d) => [`d${d}`, Array.from({ length: size }, (_, value) => value)]));

test("every pair of values of two dimensions stands in a row", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 }),
      fc.nat(),
      (sizes, seed) => {
        const rows = coveringArray(dimensionsOf(sizes), seed);
        for (let d = 0; d < sizes.length; d += 1) {
          for (let e = d; e < sizes.length; e += 1) {
            const seen = new Set(rows.map((row) => `${row[`d${d}`]} ${row[`d${e}`]}`));
            expect(seen.size).toBe(d === e ? sizes[d] : sizes[d]! * sizes[e]!);
          }
        }
      },
    ),
    { numRuns: 40 },
  );
});

test("takes few more rows than the two largest dimensions need, and the same rows for the same seed", () => {
  const dimensions = dimensionsOf([3, 4, 4, 3, 3, 2, 4]);
  for (const seed of [1, 2, 3]) {
    const rows = coveringArray(dimensions, seed);
    expect(rows.length).toBeLessThanOrEqual(24);
    expect(coveringArray(dimensions, seed)).toEqual(rows);
  }
  expect(coveringArray(dimensions, 4)).not.toEqual(coveringArray(dimensions, 5));
});

test("the full product holds each combination once", () => {
  const rows = fullProduct({ a: [1, 2, 3], b: ["x", "y"], c: [true] });
  expect(rows).toHaveLength(6);
  expect(new Set(rows.map((row) => JSON.stringify(row))).size).toBe(6);
});
