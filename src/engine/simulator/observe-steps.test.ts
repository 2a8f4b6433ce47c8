import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fitStepCosts } from "./fit-step-costs.ts";
import { observeSteps, withoutImpossible } from "./observe-steps.ts";
import { addToShape, emptyShape, type StepCostModel, stepMs } from "./step-cost-model.ts";
import { type ObservedRequest, stepsOf } from "./step-timeline.ts";

const model: StepCostModel = {
  fixedMs: 0.5,
  tokens: [{ above: 0, perUnitMs: 0.1 }],
  perSequenceMs: 0.05,
  context: [{ above: 0, perUnitMs: 0.0001 }],
  perPrefillPairMs: 0.00001,
  requestMs: 0.8,
};

interface Load {
  readonly numUsers: number;
  readonly numPromptTokens: number;
  readonly numOutputTokens: number;
  readonly numRequests: number;
  /** How late a token's arrival may be. */
  readonly jitterMs: number;
}

interface OpenRequest {
  readonly id: number;
  readonly sentMs: number;
  readonly tokenMs: number[];
}

/** An engine in lockstep under a closed loop of users: what they see, and which tokens each step really drew. */
function runLoad(load: Load): { requests: ObservedRequest[]; steps: string[] } {
  const { numPromptTokens, numOutputTokens, numUsers } = load;
  const all: OpenRequest[] = [];
  const steps: string[] = [];
  let open: OpenRequest[] = [];
  let nowMs = 0;
  let state = 1;
  const jitter = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32) * load.jitterMs;
  };
  const send = (sentMs: number): void => {
    if (all.length === load.numRequests) return;
    const request = { id: all.length, sentMs, tokenMs: [] };
    all.push(request);
    open.push(request);
  };
  for (let user = 0; user < numUsers; user += 1) send(user * 0.3);
  while (open.length > 0) {
    nowMs = Math.max(nowMs, Math.min(...open.map(({ sentMs }) => sentMs + model.requestMs)));
    const drawing = open.filter(({ sentMs }) => sentMs + model.requestMs <= nowMs);
    const shape = emptyShape();
    for (const { tokenMs } of drawing) {
      const target = numPromptTokens + tokenMs.length;
      addToShape(shape, tokenMs.length === 0 ? 0 : target - 1, tokenMs.length === 0 ? target : 1, target);
    }
    nowMs += stepMs(model, shape);
    steps.push(nameOf(drawing.map(({ id, tokenMs }) => [id, tokenMs.length])));
    for (const { tokenMs } of drawing) tokenMs.push(nowMs + jitter());
    const ended = drawing.filter(({ tokenMs }) => tokenMs.length === numOutputTokens);
    open = open.filter((request) => !ended.includes(request));
    for (const { tokenMs } of ended) send(tokenMs.at(-1)!);
  }
  const requests = all.map(({ sentMs, tokenMs }) => ({
    sentMs,
    endMs: tokenMs.at(-1)!,
    numPromptTokens,
    tokenMs,
  }));
  return { requests, steps };
}

/** Who drew which token, as one text. */
function nameOf(draws: readonly (readonly [id: number, index: number])[]): string {
  return draws
    .map(([id, index]) => `${id}:${index}`)
    .sort()
    .join(" ");
}

const quiet = { numPromptTokens: 32, numOutputTokens: 24, jitterMs: 0 };
const options = { maxNumBatchedTokens: 2048 };

describe("steps from arrivals", () => {
  test("are the steps that were run, whoever is late by less than half a step", () => {
    const loads = fc.record({
      numUsers: fc.integer({ min: 1, max: 8 }),
      numPromptTokens: fc.integer({ min: 1, max: 200 }),
      numOutputTokens: fc.integer({ min: 3, max: 40 }),
      numRequests: fc.integer({ min: 1, max: 30 }),
      jitterMs: fc.constantFrom(0, 0.25),
    });
    fc.assert(
      fc.property(loads, (load) => {
        const { requests, steps } = runLoad(load);
        const found = stepsOf(requests).map(({ draws }) =>
          nameOf(draws.map(({ request, index }) => [requests.indexOf(request), index])),
        );
        expect(found).toEqual(steps);
      }),
      { numRuns: 300 },
    );
  });
});

describe("observed steps", () => {
  test("are told by kind: drawing, joined by prompts, and requests that were alone", () => {
    const alone = observeSteps(runLoad({ ...quiet, numUsers: 1, numRequests: 4 }).requests, options);
    expect(
      alone.map(({ shape, isRequest }) => [shape.numSequences, shape.numPrefillTokens, isRequest]),
    ).toEqual([
      [1, 0, false],
      [1, 31, true],
    ]);
    const busy = observeSteps(runLoad({ ...quiet, numUsers: 4, numRequests: 40 }).requests, options);
    expect(busy.some(({ isRequest }) => isRequest)).toBe(false);
    expect(busy.some(({ shape }) => shape.numSequences > 1 && shape.numPrefillTokens > 0)).toBe(true);
    const all = [...alone, ...busy];
    for (const { shape, timeMs, isRequest } of all)
      expect(timeMs / (stepMs(model, shape) + (isRequest ? model.requestMs : 0))).toBeCloseTo(1, 2);
  });

  test("lead back to the costs of the engine", () => {
    const loads = [1, 2, 4, 8].flatMap((numUsers) =>
      [16, 200].map((numPromptTokens) => ({
        ...quiet,
        numUsers,
        numPromptTokens,
        numRequests: 8 * numUsers,
      })),
    );
    const steps = loads.flatMap((load) =>
      observeSteps(runLoad({ ...load, jitterMs: 0.1 }).requests, options),
    );
    const fit = fitStepCosts(steps);
    expect(fit.meanError).toBeLessThan(0.02);
    expect(fit.model.requestMs / model.requestMs).toBeCloseTo(1, 0);
    for (const count of [1, 3, 6]) {
      const shape = emptyShape();
      for (let index = 0; index < count; index += 1) addToShape(shape, 149, 1, 150);
      expect(Math.abs(stepMs(fit.model, shape) / stepMs(model, shape) - 1)).toBeLessThan(0.05);
    }
  });

  test("leave out steps that a prompt may have shared with the next, and times of requests that are not known", () => {
    const { requests } = runLoad({ ...quiet, numUsers: 4, numRequests: 40 });
    const few = observeSteps(requests, { maxNumBatchedTokens: 32 });
    expect(few.every(({ shape }) => shape.numPrefillTokens === 0)).toBe(true);
    const endMs = Math.max(...requests.map((request) => request.endMs));
    const unknown = { sentMs: 0, endMs, numPromptTokens: 32, tokenMs: [] };
    expect(observeSteps([...requests, unknown], options)).toEqual([]);
  });
});

test("leaves out a step that took less than half of two smaller ones, and no slow one", () => {
  const step = (numSequences: number, timeMs: number, isRequest = false) => ({
    shape: { numPrefillTokens: 0, numSequences, numContextTokens: 100 * numSequences, numPrefillPairs: 0 },
    timeMs,
    isRequest,
  });
  const [one, two, four, slow] = [step(1, 0.4), step(2, 0.5), step(4, 0.7), step(3, 9)];
  const tooFast = step(5, 0.01);
  expect(withoutImpossible([one, two, four, slow, tooFast])).toEqual([one, two, four, slow]);
  expect(withoutImpossible([one, step(1, 20, true), step(5, 0.19)])).toHaveLength(3);
});
