import { expect, test } from "vitest";
import { type PlannedLoad, type PredictedLoad, predictLoad, shapesOf, stepsOfLoad } from "./predict-load.ts";

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
  const shapes = shapesOf([steps]);
  const seconds = new Map(
    shapes.map((shape) => [shape.label, secondsOf(shape.numSequences, shape.numTokens, shape.contextLength)]),
  );
  return {
    load: predictLoad(load, steps, seconds),
    shapes: shapes.map((shape) => [shape.numSequences, shape.numTokens, shape.contextLength]),
  };
}

test("prompts share steps as far as they fit, and decode is counted once for each token", () => {
  const limits = { maxNumBatchedTokens: 256, maxNumSeqs: 8 };
  const { load, shapes } = foresee(limits, { inputTokens: 100, outputTokens: 11, concurrency: 5 });
  expect(shapes).toEqual([
    [5, 1, 106],
    [1, 100, 100],
    [2, 100, 100],
  ]);
  // Two steps with two prompts, one with one, and ten of decode, a second each.
  expect(load.outputTokensPerSecond).toBeCloseTo((5 * 11) / 13, 1);
  expect(load.itlMs / 1000).toBeCloseTo(1, 2);
  expect(load.ttftMs / 1000).toBeCloseTo(1, 1);
});

test("a long prompt is cut: the sum of its chunks is that of each by its context", () => {
  const limits = { maxNumBatchedTokens: 64, maxNumSeqs: 8 };
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
  expect(load.ttftMs / 1000 / seconds).toBeCloseTo(1, 4);
  expect(load.outputTokensPerSecond * seconds).toBeCloseTo(2, 2);
});

test("what is in flight beyond the sequences of a step waits: no step grows", () => {
  const limits = { maxNumBatchedTokens: 256, maxNumSeqs: 2 };
  const request = { inputTokens: 100, outputTokens: 11 };
  const full = foresee(limits, { ...request, concurrency: 2 });
  const waiting = foresee(limits, { ...request, concurrency: 32 });
  expect(Math.max(...waiting.shapes.map(([numSequences]) => numSequences))).toBe(2);
  expect(waiting.load).toEqual({ ...full.load, concurrency: 32 });
});
