import fc from "fast-check";
import { expect, test } from "vitest";
import { solveNonNegative } from "./least-squares.ts";
import { addToShape, fitStepCosts, type StepCostModel, type StepShape, stepMs } from "./step-cost-model.ts";

const model: StepCostModel = {
  fixedMs: 0.4,
  perPrefillTokenMs: 0.031,
  perSequenceMs: 0.05,
  perContextTokenMs: 0.0002,
  perPrefillPairMs: 0.000_004,
};

function shapeOf(parts: readonly (readonly [first: number, count: number, target: number])[]): StepShape {
  const shape = { numPrefillTokens: 0, numSequences: 0, numContextTokens: 0, numPrefillPairs: 0 };
  for (const [first, count, target] of parts) addToShape(shape, first, count, target);
  return shape;
}

test("a shape counts the token that draws as a sequence and pairs every other with all before it", () => {
  expect(shapeOf([[9, 1, 10]])).toEqual({
    numPrefillTokens: 0,
    numSequences: 1,
    numContextTokens: 10,
    numPrefillPairs: 0,
  });
  // Positions 2, 3 and 4 of a longer prompt attend to 3, 4 and 5 tokens.
  expect(shapeOf([[2, 3, 10]])).toEqual({
    numPrefillTokens: 3,
    numSequences: 0,
    numContextTokens: 0,
    numPrefillPairs: 12,
  });
  expect(shapeOf([[0, 4, 4]])).toEqual({
    numPrefillTokens: 3,
    numSequences: 1,
    numContextTokens: 4,
    numPrefillPairs: 6,
  });
});

test("a fit finds the costs that the steps were made with", () => {
  const shapes = [
    ...[1, 4, 16, 64].flatMap((count) =>
      [32, 500].map((length) => shapeOf(Array.from({ length: count }, () => [length - 1, 1, length]))),
    ),
    ...[8, 64, 512, 1024].map((count) => shapeOf([[0, count, count]])),
    shapeOf([
      [0, 300, 300],
      [99, 1, 100],
    ]),
  ];
  const fit = fitStepCosts(shapes.map((shape) => ({ shape, timeMs: stepMs(model, shape) })));
  for (const [name, cost] of Object.entries(model))
    expect(fit.model[name as keyof StepCostModel] / cost).toBeCloseTo(1, 6);
  expect(fit.maxError).toBeLessThan(1e-6);
});

test("least squares keeps the bound and meets the conditions of its minimum", () => {
  const number = fc.integer({ min: -9, max: 9 });
  const problems = fc.integer({ min: 1, max: 4 }).chain((columns) =>
    fc.record({
      rows: fc.array(fc.array(number, { minLength: columns, maxLength: columns }), {
        minLength: 1,
        maxLength: 8,
      }),
      seed: fc.array(number, { minLength: 8, maxLength: 8 }),
    }),
  );
  fc.assert(
    fc.property(problems, ({ rows, seed }) => {
      const b = rows.map((_, index) => seed[index]!);
      const x = solveNonNegative(rows, b);
      const residual = rows.map((row, i) => row.reduce((sum, term, j) => sum + term * x[j]!, 0) - b[i]!);
      // Karush, Kuhn and Tucker: the gradient is 0 where x is above 0, and never negative.
      for (const [column, value] of x.entries()) {
        const gradient = rows.reduce((sum, row, i) => sum + row[column]! * residual[i]!, 0);
        expect(value).toBeGreaterThanOrEqual(0);
        expect(gradient).toBeGreaterThan(-1e-6);
        if (value > 0) expect(Math.abs(gradient)).toBeLessThan(1e-6);
      }
    }),
  );
});
