import { StepTimes } from "../step-times.ts";

/** Steps of a size that must have been measured before their time counts: one may be slow by chance. */
const minSteps = 4;
const outlierFactor = 2;

/** What steps take with guesses and without, measured apart. */
export class GuessCosts {
  readonly #plain: StepTimes = new StepTimes(outlierFactor);
  readonly #verifying: StepTimes = new StepTimes(outlierFactor);

  /**
   * A step computed `numTokens` tokens of `numSeqs` sequences and drew `numDraws`. One that computes prompts as well
   * draws fewer than it computes, and tells nothing here.
   */
  observe(numTokens: number, numDraws: number, numSeqs: number, timeMs: number): void {
    if (numDraws !== numTokens) return;
    const times = numDraws === numSeqs ? this.#plain : this.#verifying;
    times.observe(numTokens, timeMs);
  }

  /** Milliseconds that a step of so many sequences takes without guesses; 0 as long as none was measured. */
  plainMs(numSeqs: number): number {
    return this.#plain.numSeen(numSeqs) === 0 ? 0 : this.#plain.stepMs(numSeqs);
  }

  /** Milliseconds that so many guesses make the step longer; 0 until that was measured, so that it is tried. */
  verifyMs(numSeqs: number, numDrafts: number): number {
    const numTokens = numSeqs + numDrafts;
    if (this.#verifying.numSeen(numTokens) < minSteps) return 0;
    return Math.max(0, this.#verifying.stepMs(numTokens) - this.plainMs(numSeqs));
  }
}
