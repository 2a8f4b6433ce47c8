import type { StepPlan } from "../scheduler.ts";

/** The sequences that can take guesses in the next step. Arrays may be longer than `count`. */
export interface Candidates {
  count: number;
  /** [count] rows of the sequence table. */
  readonly rows: Int32Array;
  /** [count] how many guesses each can take at most; `choose` lowers them. */
  readonly depths: Int32Array;
  /** Sequences that will draw, those that can take no guess included. */
  numDrawing: number;
}

/** Decides how many guesses are made. It changes how fast tokens come, never which. */
export interface DepthPolicy {
  open(row: number): void;
  /** The step of `plan` drew `numDraws` tokens. */
  observe(plan: StepPlan, numDraws: number, timeMs: number): void;
  /** Of a row's `numDrafts` guesses the first `numRight` were what the model drew. */
  record(row: number, numDrafts: number, numRight: number): void;
  /** Lowers the candidates' depths to what is to be guessed. */
  choose(candidates: Candidates): void;
  /** The guesses for the step that was chosen for took so long to make. */
  charge(proposeMs: number): void;
}

/** As many guesses as asked for in every step, whether they pay or not: to measure guesses, and for tests. */
export const fixedDepths: DepthPolicy = {
  open: () => {},
  observe: () => {},
  record: () => {},
  choose: () => {},
  charge: () => {},
};
