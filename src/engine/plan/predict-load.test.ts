import { expect, test } from "vitest";
import {
  type PlannedLoad,
  type PredictedLoad,
  predictLoad,
  stepsOfLoad,
  stepsToTime,
} from "./predict-load.ts";

interface Foreseen {
  readonly load: PredictedLoad;
  readonly shapes: readonly (readonly [numSequences: number, numTokens: number, contextLength: number])[];
}

/** With steps that take what `secondsOf` says of their sequences, tokens and context. */
function foresee(
  limits: Parameters<typeof stepsOfLoad>[0],
  load: PlannedLoad,
  secondsOf: (numSequences: number, numTokens: number, contextLength: number) => number = () => 1,
): Foreseen {
  const steps = stepsOfLoad(limits, load);
  const shapes = stepsToTime([steps]);
  const timings = shapes.map((shape) => ({
    seconds: secondsOf(shape.numSequences, shape.numTokens, shape.contextLength),
    spread: 0.1,
    numSamples: 3,
  }));
  return {
    load: predictLoad(load, steps, shapes, timings),
    shapes: shapes.map((shape) => [shape.numSequences, shape.numTokens, shape.contextLength]),
  };
}

test("prompts share steps as far as they fit, and decode is counted once for each token", () => {
  const limits = { maxNumBatchedTokens: 256, mostRunning: 8 };
  const { load, shapes } = foresee(limits, { inputTokens: 100, outputTokens: 11, concurrency: 5 });
  expect(shapes).toEqual([
    [5, 1, 106],
    [1, 100, 100],
    [2, 100, 100],
  ]);
  // Two steps with two prompts, one with one, and ten of decode, a second each.
  expect(load.outputTokensPerSecond).toBeCloseTo((5 * 11) / 13, 1);
  expect(load.itlMs / 1000).toBeCloseTo(1, 2);
  expect(load.ttftAloneMs / 1000).toBeCloseTo(1, 1);
});

test("a long prompt is cut: the sum of its chunks is that of each by its context", () => {
  const limits = { maxNumBatchedTokens: 64, mostRunning: 8 };
  const request = { inputTokens: 356, outputTokens: 2, concurrency: 2 };
  const { load, shapes } = foresee(limits, request, (_, numTokens, context) =>
    numTokens === 1 ? 0 : numTokens * 10 + context,
  );
  expect(shapes).toEqual([
    [2, 1, 357],
    [1, 64, 64],
    [1, 64, 320],
    [1, 36, 356],
  ]);
  const chunks = [64, 128, 192, 256, 320].map((context) => 640 + context);
  const seconds = chunks.reduce((sum, each) => sum + each, 360 + 356);
  expect(load.ttftAloneMs / 1000 / seconds).toBeCloseTo(1, 4);
  expect(load.outputTokensPerSecond * seconds).toBeCloseTo(2, 2);
});

test("what is in flight beyond the sequences of a step waits: no step grows", () => {
  const limits = { maxNumBatchedTokens: 256, mostRunning: 2 };
  const request = { inputTokens: 100, outputTokens: 11 };
  const full = foresee(limits, { ...request, concurrency: 2 });
  const waiting = foresee(limits, { ...request, concurrency: 32 });
  expect(Math.max(...waiting.shapes.map(([numSequences]) => numSequences))).toBe(2);
  expect(waiting.load).toMatchObject({
    numRunning: 2,
    outputTokensPerSecond: full.load.outputTokensPerSecond,
    itlMs: full.load.itlMs,
    ttftAloneMs: full.load.ttftAloneMs,
  });
  // Fifteen pairs are answered before the last one's turn, of 1 step of prefill and 10 of decode.
  expect(waiting.load.ttftLastMs / 1000).toBeCloseTo(15 * 11 + 1, -1);
  expect(waiting.load.outputTokensPerSecondEach).toBeCloseTo(full.load.outputTokensPerSecond / 32, 6);
});

test("a prefill of one token is no decode", () => {
  const limits = { maxNumBatchedTokens: 64, mostRunning: 8 };
  const load = { inputTokens: 1, outputTokens: 2, concurrency: 4 };
  const steps = stepsToTime([stepsOfLoad(limits, load)]);
  expect(steps.map(({ isDecode, contextLength }) => [isDecode, contextLength])).toEqual([
    [true, 2],
    [false, 1],
    [false, 1],
  ]);
});

test("of a step that would take a plan's whole time a part is timed, and counts as often as it is in there", () => {
  const limits = { maxNumBatchedTokens: 8192, mostRunning: 4096 };
  const long = { inputTokens: 2 ** 20, outputTokens: 2, concurrency: 1 };
  const rate = (numSequences: number, numTokens: number): number => numSequences * numTokens;
  const { load, shapes } = foresee(limits, long, rate);
  for (const [, numTokens, context] of shapes) expect(numTokens * context).toBeLessThanOrEqual(2 ** 23);
  expect(load.ttftAloneMs / 1000 / long.inputTokens).toBeCloseTo(1, 3);
  const many = foresee(limits, { inputTokens: 128, outputTokens: 2, concurrency: 4096 }, rate);
  expect(Math.max(...many.shapes.map(([numSequences]) => numSequences))).toBe(256);
  expect(many.load.itlMs / 1000 / 4096).toBeCloseTo(1, 2);
});
