import fc from "fast-check";
import { expect, test } from "vitest";
import { StepCosts } from "./step-costs.ts";
import { StepTimes } from "./step-times.ts";

/** Steps that take 20 ms and a tenth of a millisecond more for each token. */
function timeOf(numTokens: number): number {
  return 20 + numTokens / 10;
}

test("knows nothing before the first step", () => {
  const times = new StepTimes();
  expect([times.stepMs(100), times.msPerToken(1), times.numSeen(100)]).toEqual([0, 0, 0]);
});

test("finds the time of any step between those seen, when cost is linear", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), (numTokens) => {
      const times = new StepTimes();
      for (const seen of [1, 30, 1000]) times.observe(seen, timeOf(seen));
      expect(times.stepMs(numTokens)).toBeCloseTo(timeOf(numTokens), 6);
    }),
  );
});

test("a step larger than any seen counts as long as the largest seen, not longer", () => {
  const times = new StepTimes();
  times.observe(4, 10);
  expect(times.stepMs(800)).toBe(10);
});

test("follows when steps become slower", () => {
  const times = new StepTimes();
  times.observe(64, 10);
  for (let step = 0; step < 200; step += 1) times.observe(64, 30);
  expect(times.stepMs(64)).toBeCloseTo(30, 3);
});

test("tells the time per token of the largest steps, if they are large enough", () => {
  const times = new StepTimes();
  times.observe(1, timeOf(1));
  times.observe(40, timeOf(40));
  times.observe(500, timeOf(500));
  expect(times.msPerToken(32)).toBeCloseTo(timeOf(500) / 500, 9);
  expect(times.msPerToken(501)).toBe(0);
});

test("computing lost tokens again takes what the largest steps took per token, once there was a prefill", () => {
  const times = new StepTimes();
  const costs = new StepCosts(4e9, times);
  expect(costs.swap(3)).toBe(6);
  times.observe(1, 8);
  expect(costs.recompute(600)).toBe(2);
  times.observe(100, 50);
  expect(costs.recompute(600)).toBeCloseTo(0.3, 9);
});
