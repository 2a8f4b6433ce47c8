import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bootstrap, mcnemarExact, mean, standardError, sum } from "./statistics.ts";

describe("mcnemarExact", () => {
  // Binomial tails counted by hand: 2 · Σ C(n, i) / 2^n.
  it.each([
    [1, 8, 20 / 512],
    [0, 10, 2 / 1024],
    [5, 15, 43400 / 1048576],
    [3, 3, 1],
    [0, 0, 1],
  ])("gives the two-sided binomial p-value of %i against %i", (lost, gained, expected) => {
    expect(mcnemarExact(lost, gained)).toBeCloseTo(expected, 12);
    expect(mcnemarExact(gained, lost)).toBeCloseTo(expected, 12);
  });

  it("stays a probability for thousands of pairs and falls as the sides part", () => {
    expect(mcnemarExact(5000, 5000)).toBe(1);
    const values = [2500, 2450, 2400, 2300].map((lost) => mcnemarExact(lost, 5000 - lost));
    expect(values).toEqual(values.toSorted((a, b) => b - a));
    // Normal approximation with continuity correction: z = (|2450 − 2550| − 1) / √5000 = 1.400, p = 0.1615.
    expect(values[1]).toBeCloseTo(0.1615, 3);
  });
});

describe("means", () => {
  it("adds from the first to the last", () => {
    expect(sum([1e16, 1, 1, -1e16])).toBe(0);
    expect(sum([])).toBe(0);
  });

  it("gives the standard error of the mean, and none for one value", () => {
    expect(standardError([1, 2, 3, 4])).toBeCloseTo(Math.sqrt(5 / 3) / 2, 15);
    expect(standardError([1])).toBeNull();
  });

  it("holds the mean of any numbers between the least and the greatest", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1 }), (values) => {
        const center = mean(values);
        return center >= Math.min(...values) - 1e-9 && center <= Math.max(...values) + 1e-9;
      }),
    );
  });
});

describe("bootstrap", () => {
  const values = Array.from({ length: 400 }, (_, i) => i % 4);

  it("covers the normal interval of a mean, gives its standard error and repeats itself", () => {
    const statistics = ([rows]: readonly Int32Array[]): number[] => [
      mean(Array.from(rows!, (row) => values[row]!)),
    ];
    const [found] = bootstrap([values.length], statistics);
    const error = standardError(values)!;
    expect(found!.interval!.low).toBeCloseTo(1.5 - 1.96 * error, 1);
    expect(found!.interval!.high).toBeCloseTo(1.5 + 1.96 * error, 1);
    expect(found!.deviation! / error).toBeCloseTo(1, 1);
    expect(bootstrap([values.length], statistics)).toEqual([found]);
  });

  it("draws inside each stratum, and knows when a value is missing", () => {
    const [first, ratio] = bootstrap([3, 5], (rows) => {
      expect(rows.map((stratum) => stratum.every((row, _i, all) => row < all.length))).toEqual([true, true]);
      return [rows[1]!.length, 1 / rows[0]!.filter((row) => row > 0).length];
    });
    expect(first).toEqual({ interval: { low: 5, high: 5 }, deviation: 0 });
    expect(ratio).toEqual({ interval: null, deviation: null });
  });
});
