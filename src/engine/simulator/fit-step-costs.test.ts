import { describe, expect, test } from "vitest";
import { fitStepCosts, type MeasuredStep } from "./fit-step-costs.ts";
import { addToShape, emptyShape, type StepCostModel, type StepShape, stepMs } from "./step-cost-model.ts";

const model: StepCostModel = {
  fixedMs: 0.4,
  tokens: [
    { above: 1, perUnitMs: 0.06 },
    { above: 4, perUnitMs: 0.15 },
    { above: 16, perUnitMs: 0.1 },
  ],
  perSequenceMs: 0.02,
  context: [
    { above: 0, perUnitMs: 0.0001 },
    { above: 8192, perUnitMs: 0.0002 },
  ],
  perPrefillPairMs: 0.000_004,
  requestMs: 0.7,
};

/** Sequences of equal length that draw, and a prompt that joins them. */
function shapeOf(numSequences: number, length: number, numJoining: number): StepShape {
  const shape = emptyShape();
  for (let index = 0; index < numSequences; index += 1) addToShape(shape, length - 1, 1, length);
  if (numJoining > 0) addToShape(shape, 0, numJoining, numJoining);
  return shape;
}

function measured(costs: StepCostModel): MeasuredStep[] {
  const draws = [1, 2, 4, 8, 16, 32, 64].flatMap((count) =>
    [32, 500, 1000].map((length) => shapeOf(count, length, 0)),
  );
  const joins = [12, 60, 508, 1020].map((count) => shapeOf(4, 100, count));
  const starts = [8, 64, 512, 1024].map((count) => shapeOf(0, 0, count));
  return [
    ...[...draws, ...joins].map((shape) => ({ shape, timeMs: stepMs(costs, shape), isRequest: false })),
    ...starts.map((shape) => ({ shape, timeMs: stepMs(costs, shape) + costs.requestMs, isRequest: true })),
  ];
}

describe("a fit", () => {
  test("finds the costs that the steps were made with", () => {
    const fit = fitStepCosts(measured(model));
    expect(fit.maxError).toBeLessThan(1e-6);
    expect(fit.model.requestMs).toBeCloseTo(model.requestMs, 6);
    expect(fit.model.perSequenceMs).toBeCloseTo(model.perSequenceMs, 6);
    expect(fit.model.perPrefillPairMs).toBeCloseTo(model.perPrefillPairMs, 9);
    expect(fit.model.context[1]).toEqual({ above: 8192, perUnitMs: expect.closeTo(0.0002, 8) as number });
    // Shapes that were not measured cost what they cost in the model that made the steps.
    for (const shape of [
      shapeOf(3, 200, 0),
      shapeOf(12, 900, 0),
      shapeOf(40, 700, 300),
      shapeOf(120, 100, 0),
    ])
      expect(stepMs(fit.model, shape) / stepMs(model, shape)).toBeCloseTo(1, 6);
  });

  test("goes straight on where attention costs the same for every context", () => {
    const straight = { ...model, context: [{ above: 0, perUnitMs: 0.0001 }] };
    const { model: found } = fitStepCosts(measured(straight));
    expect(stepMs(found, shapeOf(120, 1000, 0)) / stepMs(straight, shapeOf(120, 1000, 0))).toBeCloseTo(1, 5);
  });

  test("says how far it is from steps that no such costs can have made", () => {
    const disturbed = measured(model).map((step, index) =>
      index === 3 ? { ...step, timeMs: step.timeMs * 2 } : step,
    );
    const fit = fitStepCosts(disturbed);
    expect(fit.maxError).toBeGreaterThan(0.1);
    expect(fit.meanError).toBeLessThan(fit.maxError);
  });
});
