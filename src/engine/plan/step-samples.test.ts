import { expect, test } from "vitest";
import { type SampleLimits, type Sampler, sampleInRounds } from "./step-samples.ts";

const limits: SampleLimits = { leastSeconds: 0, deadline: Number.POSITIVE_INFINITY, isRequired: true };

/** Gives one number after the other, the last one again and again. */
function sampler(isRow: boolean, ...seconds: number[]): Sampler {
  let index = 0;
  const next = (): number => seconds[Math.min(index++, seconds.length - 1)]!;
  return { isRow, once: next, sample: next };
}

test("one stalled row of three is outvoted, and its spread is known", () => {
  const [decode, prefill] = sampleInRounds(
    [sampler(true, 0.01, 0.3, 0.002, 0.002), sampler(false, 0.01, 0.02, 0.01)],
    limits,
  )!;
  expect(decode).toEqual({ seconds: 0.002, spread: (0.3 - 0.002) / 0.002, numSamples: 3 });
  expect(prefill).toEqual({ seconds: 0.01, spread: 1, numSamples: 2 });
});

test("a first step counts only where it is long", () => {
  const [short, long] = sampleInRounds([sampler(false, 0.4, 0.1), sampler(false, 2, 1)], limits)!;
  expect(short!.seconds).toBe(0.1);
  expect(long).toMatchObject({ seconds: 1, numSamples: 2 });
});

test("after the deadline a step that must be known is known by its first run, another one is not", () => {
  const late = { ...limits, deadline: 0 };
  expect(sampleInRounds([sampler(true, 0.4, 0.1)], late)).toEqual([
    { seconds: 0.4, spread: null, numSamples: 1 },
  ]);
  expect(sampleInRounds([sampler(true, 0.4, 0.1)], { ...late, isRequired: false })).toBeNull();
});
