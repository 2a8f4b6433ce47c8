import { expect, test } from "vitest";
import { percentile, summarise } from "./distribution.ts";

test("interpolates percentiles as numpy's default does", () => {
  // numpy.percentile([1, 2, 4, 8], [50, 90]) = 3.0, 6.8
  expect(percentile([1, 2, 4, 8], 0.5)).toBe(3);
  expect(percentile([1, 2, 4, 8], 0.9)).toBeCloseTo(6.8, 12);
});

test("marks percentiles that the sample cannot carry", () => {
  expect(summarise(Array.from({ length: 28 }, (_, i) => i))?.weak).toEqual(["p90", "p95", "p99"]);
  expect(summarise(Array.from({ length: 60 }, (_, i) => i))?.weak).toEqual(["p99"]);
  expect(summarise([])).toBeNull();
});

test("gives a percentile the interval of order statistics that the exact binomial gives, and none below its sample size", () => {
  const intervalsOf = (count: number) => summarise(Array.from({ length: count }, (_, i) => i + 1))!.intervals;
  // Ranks by Python's exact fractions: the greatest l with cdf(l − 1) ≤ 0.025, and the least h with cdf(h − 1) ≥ 0.975.
  expect(intervalsOf(100).p50).toEqual([40, 61]);
  expect(intervalsOf(400).p90).toEqual([348, 372]);
  expect(intervalsOf(1000).p99).toEqual([983, 997]);
  expect(intervalsOf(2000).p95).toEqual([1880, 1920]);
  expect([5, 6].map((count) => intervalsOf(count).p50 !== null)).toEqual([false, true]);
  expect([35, 36].map((count) => intervalsOf(count).p90 !== null)).toEqual([false, true]);
  expect([71, 72].map((count) => intervalsOf(count).p95 !== null)).toEqual([false, true]);
  expect([367, 368].map((count) => intervalsOf(count).p99 !== null)).toEqual([false, true]);
});
