import fc from "fast-check";
import { expect, test } from "vitest";
import { ratioInterval, relativeSpread, sliceError } from "./ratio-interval.ts";

test("is Welch's interval as worked by hand", () => {
  // Both sides have the same variance and three values: 4 degrees of freedom.
  const a = [100, 110, 121].map((value) => value * 2);
  const b = [100, 110, 121];
  const half = 2.7764 * Math.sqrt((2 * Math.log(1.1) ** 2) / 3);
  const { low, high } = ratioInterval(2, sliceError([a])!, sliceError([b])!);
  expect(low).toBeCloseTo(2 * Math.exp(-half), 4);
  expect(high).toBeCloseTo(2 * Math.exp(half), 4);
  expect(relativeSpread(sliceError([b])!)).toBeCloseTo(
    Math.exp(4.3027 * (Math.log(1.1) / Math.sqrt(3))) - 1,
    4,
  );
});

test("says nothing from single slices", () => {
  expect(sliceError([[1]])).toBeNull();
  expect(sliceError([])).toBeNull();
});

const speeds = fc.array(fc.double({ min: 1, max: 1000, noNaN: true }), { minLength: 2, maxLength: 20 });

test("turned around, gives the turned-around interval", () => {
  fc.assert(
    fc.property(speeds, speeds, (a, b) => {
      const there = ratioInterval(2, sliceError([a])!, sliceError([b])!);
      const back = ratioInterval(1 / 2, sliceError([b])!, sliceError([a])!);
      expect(back.low).toBeCloseTo(1 / there.high, 9);
      expect(there.low).toBeLessThanOrEqual(2);
    }),
  );
});

/** Box and Muller's normal numbers from a small congruential generator (Numerical Recipes' constants). */
function normals(seed: number): () => number {
  let state = seed;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

test("holds the true ratio in about 95 of 100 runs, also with three slices", () => {
  const draw = normals(1);
  const numRuns = 4000;
  for (const count of [3, 8]) {
    let hits = 0;
    for (let run = 0; run < numRuns; run += 1) {
      const [a, b] = [0.1, 0.04].map((spread) =>
        Array.from({ length: count }, () => Math.exp(spread * draw())),
      );
      const center = Math.exp(mean(a!.map(Math.log)) - mean(b!.map(Math.log)));
      const { low, high } = ratioInterval(center, sliceError([a!])!, sliceError([b!])!);
      if (low <= 1 && high >= 1) hits += 1;
    }
    expect(hits / numRuns).toBeGreaterThan(0.94);
    expect(hits / numRuns).toBeLessThan(0.99);
  }
});

test("takes the variance inside strata, as worked by hand", () => {
  // Two strata of two: squares around their means 0.5 ln² 1.1 and 0.5 ln² 1.2, with a degree of freedom each.
  const strata = [
    [100, 110],
    [10, 12],
  ];
  const squared = (Math.log(1.1) ** 2 + Math.log(1.2) ** 2) / 2 / 2 / 4;
  expect(relativeSpread(sliceError(strata)!)).toBeCloseTo(Math.expm1(4.3027 * Math.sqrt(squared)), 4);
  // A place that one round alone reached counts for the mean only.
  expect(relativeSpread(sliceError([...strata, [5]])!)).toBeCloseTo(
    Math.expm1(4.3027 * Math.sqrt((squared * 4) / 5)),
    4,
  );
  // Without a second round at any place, what is left is the spread over places.
  expect(sliceError([[100], [110], [121]])).toEqual(sliceError([[100, 110, 121]]));
});

test("holds the true ratio in about 95 of 100 runs of two rounds that begin with a burst", () => {
  const draw = normals(2);
  const numRuns = 4000;
  for (const numPlaces of [2, 3, 5]) {
    let hits = 0;
    for (let run = 0; run < numRuns; run += 1) {
      const [a, b] = [0.06, 0.03].map((spread) =>
        Array.from({ length: numPlaces }, (_, place) =>
          [1, 2].map(() => Math.exp((place === 0 ? -1 : 0) + spread * draw())),
        ),
      );
      const center = Math.exp(mean(a!.flat().map(Math.log)) - mean(b!.flat().map(Math.log)));
      const { low, high } = ratioInterval(center, sliceError(a!)!, sliceError(b!)!);
      if (low <= 1 && high >= 1) hits += 1;
    }
    expect(hits / numRuns).toBeGreaterThan(0.94);
    expect(hits / numRuns).toBeLessThan(0.99);
  }
});

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
