import { StepTimes } from "../step-times.ts";

/** A step with guesses may have so many times the tokens of the largest whose time is known. */
const growth = 2;
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

  /**
   * Milliseconds that so many guesses make the step longer; 0 until any were measured, so that they are tried. A step of
   * a size that was not measured yet costs as much per guess as the largest that was.
   */
  verifyMs(numSeqs: number, numDrafts: number): number {
    const numTokens = numSeqs + numDrafts;
    const plainMs = this.plainMs(numSeqs);
    if (this.#verifying.numSeen(numTokens) >= minSteps) {
      return Math.max(0, this.#verifying.stepMs(numTokens) - plainMs);
    }
    const largest = this.#verifying.largestSeen(minSteps);
    if (largest <= numSeqs) return 0;
    const guessMs = (this.#verifying.stepMs(largest) - plainMs) / (largest - numSeqs);
    return Math.max(0, guessMs * numDrafts);
  }

  /**
   * Most guesses for a step of `numSeqs` sequences, at least `fewest`. Sizes are tried one after the other: did all
   * rows begin at once because a few had seemed to gain, what their drafts catch up with would be lost if that was
   * chance.
   */
  mostDrafts(numSeqs: number, fewest: number): number {
    return Math.max(fewest, growth * this.#verifying.largestSeen(minSteps) - numSeqs);
  }
}
