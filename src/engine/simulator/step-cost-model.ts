import type { StepPlan } from "../scheduler.ts";
import type { SequenceTable } from "../sequence-table.ts";

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

/** What a unit costs beyond a number of them, up to where the next piece begins. */
export interface CostPiece {
  readonly above: number;
  readonly perUnitMs: number;
}

/** Milliseconds by what a step is made of. Pieces are sorted by where they begin. */
export interface StepCostModel {
  /** Every step: the weights are read once, the batch is built. */
  readonly fixedMs: number;
  /** Tokens of the step, prefill and drawing alike: linear layers. Kernels differ by how many there are. */
  readonly tokens: readonly CostPiece[];
  /** Beside its token, for a sequence that draws: the head, the sampler, its answer's way out. */
  readonly perSequenceMs: number;
  /** Attention of the sequences that draw, by context tokens: K and V come from caches as long as they fit. */
  readonly context: readonly CostPiece[];
  /** Attention of prefill. */
  readonly perPrefillPairMs: number;
  /** Outside of steps, for each request: what its way to the engine and its first token's way back take. */
  readonly requestMs: number;
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

export function emptyShape(): StepShape {
  return { numPrefillTokens: 0, numSequences: 0, numContextTokens: 0, numPrefillPairs: 0 };
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

/** Tokens that a step computes. */
export function numTokensOf(shape: Readonly<StepShape>): number {
  return shape.numPrefillTokens + shape.numSequences;
}

export function stepMs(model: StepCostModel, shape: Readonly<StepShape>): number {
  return (
    model.fixedMs +
    sumPieces(model.tokens, numTokensOf(shape)) +
    model.perSequenceMs * shape.numSequences +
    sumPieces(model.context, shape.numContextTokens) +
    model.perPrefillPairMs * shape.numPrefillPairs
  );
}

function sumPieces(pieces: readonly CostPiece[], count: number): number {
  let sum = 0;
  for (let index = 0; index < pieces.length; index += 1)
    sum += pieces[index]!.perUnitMs * unitsIn(count, pieces[index]!.above, pieces[index + 1]?.above);
  return sum;
}

/** How many of `count` units lie above `above` and not above `next`. */
export function unitsIn(count: number, above: number, next: number = Number.POSITIVE_INFINITY): number {
  return Math.max(0, Math.min(count, next) - above);
}
