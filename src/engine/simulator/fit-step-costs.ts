import { solveNonNegative } from "./least-squares.ts";
import {
  type CostPiece,
  numTokensOf,
  type StepCostModel,
  type StepShape,
  stepMs,
  unitsIn,
} from "./step-cost-model.ts";

/** A step that was run and timed. */
export interface MeasuredStep {
  readonly shape: Readonly<StepShape>;
  readonly timeMs: number;
  /** The time is that of a request's first token, from sending it to an idle engine. */
  readonly isRequest: boolean;
}

export interface StepCostFit {
  readonly model: StepCostModel;
  /** Mean and largest of |predicted − measured| / measured. */
  readonly meanError: number;
  readonly maxError: number;
}

/** The step of one kind whose time is in the middle; the shorter one of two, since what disturbs a step makes it longer. */
export function medianStep(steps: readonly MeasuredStep[]): MeasuredStep {
  const sorted = steps.toSorted((a, b) => a.timeMs - b.timeMs);
  return sorted[(sorted.length - 1) >> 1]!;
}

/** Beyond so many tokens, linear layers cost as much for each further one. */
const maxTokenKnot = 64;
/** Two measured counts of tokens that are nearer than this make one piece. */
const minKnotRatio = 1.5;
/** Where the context may outgrow the caches, in tokens: tried one by one. */
const contextKnots: readonly number[] = [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
/** Steps that must lie beyond a knot for it to be tried. */
const minBeyondKnot = 3;

/**
 * Fits a model to measured steps by least squares of the relative error, so that a step of one token counts as much as
 * one of two thousand; no cost is below 0. What the steps do not tell apart is put together where it cannot be seen:
 * without requests `requestMs` is 0, and a cost that nothing was measured for is 0.
 */
export function fitStepCosts(steps: readonly MeasuredStep[]): StepCostFit {
  const tokenKnots = tokenKnotsOf(steps);
  let best = fitWith(steps, tokenKnots, [0]);
  for (const knot of contextKnots) {
    const numBeyond = steps.filter(({ shape }) => shape.numContextTokens > knot).length;
    if (numBeyond < minBeyondKnot) break;
    const fit = fitWith(steps, tokenKnots, [0, knot]);
    if (fit.sumOfSquares < best.sumOfSquares) best = fit;
  }
  const errors = steps.map((step) => Math.abs(predictMs(best.model, step) / step.timeMs - 1));
  return {
    model: best.model,
    meanError: errors.reduce((sum, error) => sum + error, 0) / errors.length,
    maxError: Math.max(...errors),
  };
}

/** Pieces begin at counts that were measured, so that each has a measurement at both of its ends. */
function tokenKnotsOf(steps: readonly MeasuredStep[]): number[] {
  const counts = [...new Set(steps.map(({ shape }) => numTokensOf(shape)))].sort((a, b) => a - b);
  const knots: number[] = [];
  for (const count of counts.slice(0, -1)) {
    if (count > maxTokenKnot) break;
    if (knots.length === 0 || count >= minKnotRatio * knots.at(-1)!) knots.push(count);
  }
  return knots.length === 0 ? [0] : knots;
}

interface Candidate {
  readonly model: StepCostModel;
  readonly sumOfSquares: number;
}

function fitWith(
  steps: readonly MeasuredStep[],
  tokenKnots: readonly number[],
  contextKnots: readonly number[],
): Candidate {
  const rows = steps.map(({ shape, timeMs, isRequest }) =>
    [
      1,
      isRequest ? 1 : 0,
      shape.numSequences,
      shape.numPrefillPairs,
      ...tokenKnots.map((knot, index) => unitsIn(numTokensOf(shape), knot, tokenKnots[index + 1])),
      ...contextKnots.map((knot, index) => unitsIn(shape.numContextTokens, knot, contextKnots[index + 1])),
    ].map((term) => term / timeMs),
  );
  const ones = steps.map(() => 1);
  const [fixedMs, requestMs, perSequenceMs, perPrefillPairMs, ...slopes] = solveNonNegative(rows, ones);
  const piecesOf = (knots: readonly number[], costs: readonly number[]): CostPiece[] =>
    knots.map((above, index) => ({ above, perUnitMs: costs[index]! }));
  const model: StepCostModel = {
    fixedMs: fixedMs!,
    tokens: piecesOf(tokenKnots, slopes),
    perSequenceMs: perSequenceMs!,
    context: piecesOf(contextKnots, slopes.slice(tokenKnots.length)),
    perPrefillPairMs: perPrefillPairMs!,
    requestMs: requestMs!,
  };
  const sumOfSquares = steps.reduce((sum, step) => sum + (predictMs(model, step) / step.timeMs - 1) ** 2, 0);
  return { model, sumOfSquares };
}

function predictMs(model: StepCostModel, { shape, isRequest }: MeasuredStep): number {
  return stepMs(model, shape) + (isRequest ? model.requestMs : 0);
}
