import fc from "fast-check";
import { expect, test } from "vitest";
import { DecayingMean } from "./decaying-mean.ts";

test("is the plain mean of the first measurements", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 16 }), (values) => {
      const mean = new DecayingMean(1 / 16);
      for (const value of values) mean.observe(value);
      expect(mean.get()).toBeCloseTo(values.reduce((sum, value) => sum + value, 0) / values.length, 9);
    }),
  );
});

test("follows later ones by a fixed weight", () => {
  const mean = new DecayingMean(1 / 4);
  for (let round = 0; round < 100; round += 1) mean.observe(8);
  mean.observe(12);
  expect(mean.get()).toBe(9);
  mean.observe(5);
  expect(mean.get()).toBe(8);
});

test("holds several side by side, none of which another changes", () => {
  const mean = new DecayingMean(1 / 2, 3);
  mean.observe(7, 1);
  expect([mean.get(0), mean.get(1), mean.get(2)]).toEqual([0, 7, 0]);
  expect([mean.numSeen(0), mean.numSeen(1)]).toEqual([0, 1]);
});

test("what is assumed counts like the measurements that it stands for", () => {
  const mean = new DecayingMean(1 / 16, 2);
  mean.assume(0.5, 3, 1);
  mean.observe(1, 1);
  expect(mean.get(1)).toBe(0.625);
  expect(mean.get(0)).toBe(0);
});
