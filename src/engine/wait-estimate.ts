import { DecayingMean } from "./decaying-mean.ts";
import { StepTimes } from "./step-times.ts";

/** Work that stands between a newcomer and its first token. */
export interface WorkAhead {
  /** Prompt tokens to compute: of those that start before it, and its own. */
  readonly numPromptTokens: number;
  /** Sequences that must end before it can start, because all places are taken. */
  readonly numEnds: number;
  /** Sequences that run meanwhile. */
  readonly numRunning: number;
}

/** The last thirty or so sequences count. */
const newWeight = 1 / 16;

/** How long work takes, from the steps and the sequences seen so far. A request is refused by it. */
export class WaitEstimate {
  readonly stepTimes: StepTimes = new StepTimes();
  readonly #maxNumBatchedTokens: number;
  /** Output tokens of sequences that ended. */
  readonly #outputTokens: DecayingMean = new DecayingMean(newWeight);
  /** Share of a prompt that the prefix cache did not have. */
  readonly #computedShare: DecayingMean = new DecayingMean(newWeight);

  constructor(maxNumBatchedTokens: number) {
    this.#maxNumBatchedTokens = maxNumBatchedTokens;
    this.#computedShare.assume(1, 0);
  }

  /** A sequence ended whose prompt had `numCachedTokens` tokens in the cache when it started. */
  observePrompt(numPromptTokens: number, numCachedTokens: number): void {
    this.#computedShare.observe((numPromptTokens - numCachedTokens) / numPromptTokens);
  }

  /** It was an answer, not a score. */
  observeAnswer(numOutputTokens: number): void {
    this.#outputTokens.observe(numOutputTokens);
  }

  /**
   * Seconds until the work is done: prompts are computed in steps of at most `maxNumBatchedTokens`, while the running
   * sequences draw one token each per step, and so many of those as must end take a mean answer's tokens each. What
   * the prefix cache is likely to have is left out. 0 before the first step.
   */
  secondsFor(work: WorkAhead): number {
    const numRunning = Math.max(1, work.numRunning);
    const numOutputTokens = work.numEnds * this.#outputTokens.get();
    const numPromptTokens = work.numPromptTokens * this.#computedShare.get();
    const numPromptSteps = Math.ceil(numPromptTokens / this.#maxNumBatchedTokens);
    const numSteps = Math.max(1, numPromptSteps, numOutputTokens / numRunning);
    const numTokens = numPromptTokens + numOutputTokens;
    const perStep = Math.min(this.#maxNumBatchedTokens, numTokens / numSteps);
    return (numSteps * this.stepTimes.stepMs(perStep)) / 1000;
  }
}
