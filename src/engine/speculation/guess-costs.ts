import { StepTimes } from "../step-times.ts";

/** Steps of a size that must have been measured before their time counts: one may be slow by chance. */
const minSteps = 4;
const outlierFactor = 2;

/** What steps take with guesses and without, measured apart. */
export class GuessCosts {
  readonly #plain: StepTimes = new StepTimes(outlierFactor);
  readonly #verifying: StepTimes = new StepTimes(outlierFactor);

  /** A step without a part of a prompt drew `numDraws` tokens, guesses included, for `numSeqs` sequences. */
  observe(numDraws: number, numSeqs: number, timeMs: number): void {
    const times = numDraws === numSeqs ? this.#plain : this.#verifying;
    times.observe(numDraws, timeMs);
  }

  /** Milliseconds that a step of so many sequences takes without guesses; 0 as long as too few were measured. */
  plainMs(numSeqs: number): number {
    return this.#plain.numSeen(numSeqs) < minSteps ? 0 : this.#plain.stepMs(numSeqs);
  }

  /** Milliseconds that so many guesses make the step longer; 0 until that was measured, so that it is tried. */
  verifyMs(numSeqs: number, numDrafts: number): number {
    const numTokens = numSeqs + numDrafts;
    if (this.#verifying.numSeen(numTokens) < minSteps) return 0;
    return Math.max(0, this.#verifying.stepMs(numTokens) - this.plainMs(numSeqs));
  }
}
