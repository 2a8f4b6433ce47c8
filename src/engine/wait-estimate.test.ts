import fc from "fast-check";
import { expect, test } from "vitest";
import { WaitEstimate } from "./wait-estimate.ts";

const nothing = { numPromptTokens: 0, numEnds: 0, numRunning: 0 };

/** Steps that take 20 ms and a tenth of a millisecond more for each token. */
function timeOf(numTokens: number): number {
  return 20 + numTokens / 10;
}

test("knows nothing before the first step, and then never refuses by it", () => {
  const estimate = new WaitEstimate(1024);
  expect(estimate.secondsFor({ numPromptTokens: 100_000, numEnds: 50, numRunning: 8 })).toBe(0);
});

test("single tokens say little of large steps: one prefill is not a thousand decodes", () => {
  const estimate = new WaitEstimate(1024);
  estimate.stepTimes.observe(1000, timeOf(1000));
  for (let step = 0; step < 10_000; step += 1) estimate.stepTimes.observe(1, timeOf(1));
  const seconds = estimate.secondsFor({ ...nothing, numPromptTokens: 1000 });
  expect(seconds).toBeCloseTo(timeOf(1000) / 1000, 6);
});

test("prompts take as many steps as the token budget makes of them", () => {
  const estimate = new WaitEstimate(100);
  estimate.stepTimes.observe(100, 50);
  expect(estimate.secondsFor({ ...nothing, numPromptTokens: 1000 })).toBeCloseTo(0.5, 9);
});

test("a taken place becomes free at the pace at which running sequences end", () => {
  const estimate = new WaitEstimate(100);
  estimate.stepTimes.observe(4, 10);
  estimate.observePrompt(20, 0);
  estimate.observeAnswer(80);
  // Four sequences draw four tokens per step; one end per 80 tokens is one per 20 steps.
  const seconds = estimate.secondsFor({ numPromptTokens: 0, numEnds: 3, numRunning: 4 });
  expect(seconds).toBeCloseTo((3 * 20 * 10) / 1000, 9);
});

test("tokens that the prefix cache is used to have are not counted", () => {
  const estimate = new WaitEstimate(100);
  estimate.stepTimes.observe(100, 50);
  estimate.observePrompt(200, 150);
  estimate.observeAnswer(1);
  expect(estimate.secondsFor({ ...nothing, numPromptTokens: 1600 })).toBeCloseTo(0.2, 9);
});

test("more work never takes less time", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 512 }), { maxLength: 20 });
  const work = fc.record({ numPromptTokens: fc.nat(5000), numEnds: fc.nat(20), numRunning: fc.nat(8) });
  fc.assert(
    fc.property(sizes, work, fc.nat(2000), (seen, some, more) => {
      const estimate = new WaitEstimate(512);
      for (const numTokens of seen) estimate.stepTimes.observe(numTokens, timeOf(numTokens));
      estimate.observePrompt(10, 0);
      estimate.observeAnswer(16);
      const larger = { ...some, numPromptTokens: some.numPromptTokens + more };
      expect(estimate.secondsFor(larger)).toBeGreaterThanOrEqual(estimate.secondsFor(some) * (1 - 1e-9));
    }),
  );
});
