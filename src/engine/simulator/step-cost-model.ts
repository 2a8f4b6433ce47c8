import type { StepPlan } from "../scheduler.ts";
import type { SequenceTable } from "../sequence-table.ts";
import { solveNonNegative } from "./least-squares.ts";

/**
 * What a step is made of, as far as its time depends on it. The token after which a sequence draws counts as a
 * sequence, every other token as prefill: a decode step has no prefill tokens.
 */
export interface StepShape {
  numPrefillTokens: number;
  /** Sequences that draw a token. */
  numSequences: number;
  /** Tokens that those sequences attend to, together. */
  numContextTokens: number;
  /** Pairs of a prefill token and a token that it attends to. */
  numPrefillPairs: number;
}

/** Milliseconds of a step by what it is made of. */
export interface StepCostModel {
  /** Every step: the weights are read once, the batch is built. */
  readonly fixedMs: number;
  readonly perPrefillTokenMs: number;
  readonly perSequenceMs: number;
  /** Attention of the sequences that draw. */
  readonly perContextTokenMs: number;
  /** Attention of prefill. */
  readonly perPrefillPairMs: number;
}

/** A step that was run and timed. */
export interface MeasuredStep {
  readonly shape: Readonly<StepShape>;
  readonly timeMs: number;
}

export interface StepCostFit {
  readonly model: StepCostModel;
  /** Mean and largest of |predicted − measured| / measured. */
  readonly meanError: number;
  readonly maxError: number;
}

/** The shape of a planned step, before it is committed. Fills `into`. */
export function measureShape(plan: StepPlan, table: SequenceTable, into: StepShape): void {
  into.numPrefillTokens = 0;
  into.numSequences = 0;
  into.numContextTokens = 0;
  into.numPrefillPairs = 0;
  for (let index = 0; index < plan.numSeqs; index += 1) {
    const row = plan.rows[index]!;
    const first = table.numComputed[row]!;
    addToShape(into, first, plan.numNewTokens[index]!, table.numTarget[row]!);
  }
}

/** Adds `count` tokens of a sequence from position `first` on; it draws if they reach `target`. */
export function addToShape(shape: StepShape, first: number, count: number, target: number): void {
  const isDrawing = first + count === target;
  const numPrefill = isDrawing ? count - 1 : count;
  shape.numPrefillTokens += numPrefill;
  shape.numPrefillPairs += numPrefill * first + (numPrefill * (numPrefill + 1)) / 2;
  if (!isDrawing) return;
  shape.numSequences += 1;
  shape.numContextTokens += target;
}

export function stepMs(model: StepCostModel, shape: Readonly<StepShape>): number {
  return (
    model.fixedMs +
    model.perPrefillTokenMs * shape.numPrefillTokens +
    model.perSequenceMs * shape.numSequences +
    model.perContextTokenMs * shape.numContextTokens +
    model.perPrefillPairMs * shape.numPrefillPairs
  );
}

/**
 * Fits a model to measured steps by least squares of the relative error, so that a step of one token counts as much as
 * one of two thousand; no cost is below 0.
 */
export function fitStepCosts(steps: readonly MeasuredStep[]): StepCostFit {
  const rows = steps.map(({ shape, timeMs }) =>
    [1, shape.numPrefillTokens, shape.numSequences, shape.numContextTokens, shape.numPrefillPairs].map(
      (term) => term / timeMs,
    ),
  );
  const costs = solveNonNegative(
    rows,
    steps.map(() => 1),
  );
  const model: StepCostModel = {
    fixedMs: costs[0]!,
    perPrefillTokenMs: costs[1]!,
    perSequenceMs: costs[2]!,
    perContextTokenMs: costs[3]!,
    perPrefillPairMs: costs[4]!,
  };
  const errors = steps.map(({ shape, timeMs }) => Math.abs(stepMs(model, shape) / timeMs - 1));
  return {
    model,
    meanError: errors.reduce((sum, error) => sum + error, 0) / errors.length,
    maxError: Math.max(...errors),
  };
}
