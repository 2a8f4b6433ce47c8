import { expect, test } from "vitest";
import { dueTimes } from "./arrivals.ts";
import { generatorFor } from "./random.ts";

const count = 20_000;

/** Mean and variance of the gaps between arrivals, in units of the mean gap that the rate asks for. */
function gapsOf(requestRate: number, burstiness: number): { mean: number; variance: number } {
  const due = dueTimes({ kind: "rate", requestRate, burstiness }, count, generatorFor(7, 0));
  const gaps = Array.from({ length: count - 1 }, (_, i) => ((due[i + 1]! - due[i]!) / 1000) * requestRate);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
  return { mean, variance };
}

// A gamma distribution of shape k and mean 1 has the variance 1 / k; a sample's is within a few standard errors.
test.each([0.25, 0.5, 1, 2.5, 20])(
  "gaps of burstiness %d have the mean and variance of their distribution",
  (shape) => {
    const { mean, variance } = gapsOf(40, shape);
    expect(mean).toBeCloseTo(1, 3);
    // Var of a sample variance is (excess kurtosis 6 / k + 2) / (n k²).
    const error = Math.sqrt((6 / shape + 2) / count) / shape;
    expect(Math.abs(variance - 1 / shape)).toBeLessThan(4 * error);
  },
);

test("Poisson arrivals: as many gaps above twice the mean as an exponential distribution has", () => {
  const due = dueTimes({ kind: "rate", requestRate: 1, burstiness: 1 }, count, generatorFor(3, 0));
  let long = 0;
  for (let i = 1; i < count; i += 1) if (due[i]! - due[i - 1]! > 2000) long += 1;
  expect(Math.abs(long / count - Math.exp(-2))).toBeLessThan(0.01);
});

test("even gaps are even, the first request is due at once, and the last gap ends the stage", () => {
  const due = dueTimes(
    { kind: "rate", requestRate: 4, burstiness: Number.POSITIVE_INFINITY },
    8,
    generatorFor(1, 0),
  );
  expect([...due]).toEqual([0, 250, 500, 750, 1000, 1250, 1500, 1750]);
});

test("all at once are due at once; one seed draws the same times again, another one others", () => {
  const poisson = { kind: "rate" as const, requestRate: 3, burstiness: 1 };
  expect([
    ...dueTimes(
      { kind: "rate", requestRate: Number.POSITIVE_INFINITY, burstiness: 1 },
      3,
      generatorFor(1, 0),
    ),
  ]).toEqual([0, 0, 0]);
  expect(dueTimes(poisson, 50, generatorFor(1, 0))).toEqual(dueTimes(poisson, 50, generatorFor(1, 0)));
  expect(dueTimes(poisson, 50, generatorFor(2, 0))).not.toEqual(dueTimes(poisson, 50, generatorFor(1, 0)));
});

test("a ramp's rate grows from its start to its end, by sums or by factors", () => {
  const even = Number.POSITIVE_INFINITY;
  const gapsOf = (growth: "linear" | "exponential"): number[] => {
    const arrivals = { kind: "ramp" as const, fromRate: 1, toRate: 16, growth, burstiness: even };
    const due = dueTimes(arrivals, 5, generatorFor(1, 0));
    return Array.from({ length: 4 }, (_, i) => due[i + 1]! - due[i]!);
  };
  // Rates 1, 4.75, 8.5, 12.25 and 1, 2, 4, 8 at the first four requests.
  for (const [i, rate] of [1, 4.75, 8.5, 12.25].entries())
    expect(gapsOf("linear")[i]).toBeCloseTo(1000 / rate, 6);
  for (const [i, rate] of [1, 2, 4, 8].entries())
    expect(gapsOf("exponential")[i]).toBeCloseTo(1000 / rate, 6);
});

test("a trace keeps its times", () => {
  const arrivals = { kind: "times" as const, dueMs: [0, 3, 40, 41], name: "a trace" };
  expect([...dueTimes(arrivals, 3, generatorFor(1, 0))]).toEqual([0, 3, 40]);
});
