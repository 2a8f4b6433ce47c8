import { expect, test } from "vitest";
import { addToShape, emptyShape, type StepShape, stepMs } from "./step-cost-model.ts";

function shapeOf(parts: readonly (readonly [first: number, count: number, target: number])[]): StepShape {
  const shape = emptyShape();
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

test("each piece of a cost holds up to where the next begins", () => {
  const model = {
    fixedMs: 2,
    tokens: [
      { above: 1, perUnitMs: 0.5 },
      { above: 4, perUnitMs: 0.25 },
    ],
    perSequenceMs: 0,
    context: [
      { above: 0, perUnitMs: 0 },
      { above: 100, perUnitMs: 0.125 },
    ],
    perPrefillPairMs: 0,
    requestMs: 64,
  };
  const costOf = (numPrefillTokens: number, numContextTokens: number): number =>
    stepMs(model, { ...emptyShape(), numPrefillTokens, numSequences: 1, numContextTokens });
  expect(costOf(0, 1)).toBe(2);
  expect(costOf(3, 100)).toBe(2 + 3 * 0.5);
  expect(costOf(7, 116)).toBe(2 + 3 * 0.5 + 4 * 0.25 + 16 * 0.125);
});
