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
