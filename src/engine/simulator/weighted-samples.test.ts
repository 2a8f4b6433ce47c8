import fc from "fast-check";
import { expect, test } from "vitest";
import { WeightedSamples } from "./weighted-samples.ts";

/** The same by writing every sample out. */
function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const position = (sorted.length - 1) * share;
  const low = sorted[Math.floor(position)]!;
  const high = sorted[Math.ceil(position)]!;
  return low + (high - low) * (position - Math.floor(position));
}

test("percentiles and mean are those of the samples written out", () => {
  const entries = fc.array(fc.tuple(fc.integer({ min: -50, max: 50 }), fc.nat(6)), { minLength: 1 });
  fc.assert(
    fc.property(entries, (given) => {
      const samples = new WeightedSamples();
      for (const [value, count] of given) samples.add(value, count);
      const all = given.flatMap(([value, count]) => Array.from({ length: count }, () => value));
      const summary = samples.summary();
      if (all.length === 0) {
        expect(summary).toBeNull();
        return;
      }
      expect(summary!.count).toBe(all.length);
      expect(summary!.mean).toBeCloseTo(all.reduce((a, b) => a + b, 0) / all.length, 9);
      expect(summary!.max).toBe(Math.max(...all));
      for (const [name, share] of [
        ["p50", 0.5],
        ["p90", 0.9],
        ["p95", 0.95],
        ["p99", 0.99],
      ] as const)
        expect(summary![name]).toBeCloseTo(percentile(all, share), 9);
    }),
  );
});

test("more entries than the first arrays hold are kept", () => {
  const samples = new WeightedSamples();
  for (let value = 0; value <= 5000; value += 1) samples.add(value, 1);
  expect(samples.summary()).toMatchObject({ count: 5001, mean: 2500, p50: 2500, p90: 4500, max: 5000 });
});
