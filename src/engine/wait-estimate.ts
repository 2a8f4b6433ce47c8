/** Work that stands between a newcomer and its first token. */
export interface WorkAhead {
  /** Prompt tokens to compute: of those that start before it, and its own. */
  readonly numPromptTokens: number;
  /** Sequences that must end before it can start, because all places are taken. */
  readonly numEnds: number;
  /** Sequences that run meanwhile. */
  readonly numRunning: number;
}

/** Weight of a new measurement in a mean: the last thirty or so count. */
const newWeight = 1 / 16;
/** Steps are sorted by size: class c holds 2^c … 2^(c + 1) − 1 tokens. */
const numClasses = 24;

/**
 * How long work takes, from the steps seen so far. A step costs a fixed part (the weights stream through once) and a
 * part per token, so tokens per second say little without the size of the step: one token may take as long as fifty.
 * So the mean time is kept per size class, as an exponentially weighted moving average, and read by interpolation.
 * Steps larger than any seen count as long as the largest seen: an estimate is never longer than what was measured
 * gives reason for, since a request is refused by it.
 */
export class WaitEstimate {
  /** [classes] mean tokens and milliseconds of the steps seen; 0 where none was. */
  readonly #tokens: Float64Array = new Float64Array(numClasses);
  readonly #timesMs: Float64Array = new Float64Array(numClasses);
  readonly #maxNumBatchedTokens: number;
  /** Mean output tokens of sequences that ended. */
  #meanOutputTokens = 0;
  /** Mean share of a prompt that the prefix cache did not have. */
  #meanComputedShare = 1;
  #hasEnded = false;

  constructor(maxNumBatchedTokens: number) {
    this.#maxNumBatchedTokens = maxNumBatchedTokens;
  }

  /** A step computed `numTokens` tokens in `timeMs` milliseconds. */
  observeStep(numTokens: number, timeMs: number): void {
    if (numTokens < 1) return;
    const index = Math.min(numClasses - 1, 31 - Math.clz32(numTokens));
    const weight = this.#tokens[index] === 0 ? 1 : newWeight;
    this.#tokens[index]! += weight * (numTokens - this.#tokens[index]!);
    this.#timesMs[index]! += weight * (timeMs - this.#timesMs[index]!);
  }

  /** A sequence ended whose prompt had `numCachedTokens` tokens in the cache when it started. */
  observeEnd(numPromptTokens: number, numCachedTokens: number, numOutputTokens: number): void {
    const weight = this.#hasEnded ? newWeight : 1;
    const computedShare = (numPromptTokens - numCachedTokens) / numPromptTokens;
    this.#hasEnded = true;
    this.#meanOutputTokens += weight * (numOutputTokens - this.#meanOutputTokens);
    this.#meanComputedShare += weight * (computedShare - this.#meanComputedShare);
  }

  /** Milliseconds that a step of so many tokens takes; 0 before the first step. */
  stepMs(numTokens: number): number {
    let below = -1;
    for (let index = 0; index < numClasses; index += 1) {
      const tokens = this.#tokens[index]!;
      if (tokens === 0) continue;
      if (tokens >= numTokens) return this.#between(below, index, numTokens);
      below = index;
    }
    return below === -1 ? 0 : this.#timesMs[below]!;
  }

  /**
   * Seconds until the work is done: prompts are computed in steps of at most `maxNumBatchedTokens`, while the running
   * sequences draw one token each per step, and so many of those as must end take a mean answer's tokens each. What
   * the prefix cache is likely to have is left out. 0 before the first step.
   */
  secondsFor(work: WorkAhead): number {
    const numRunning = Math.max(1, work.numRunning);
    const numOutputTokens = work.numEnds * this.#meanOutputTokens;
    const numPromptTokens = work.numPromptTokens * this.#meanComputedShare;
    const numPromptSteps = Math.ceil(numPromptTokens / this.#maxNumBatchedTokens);
    const numSteps = Math.max(1, numPromptSteps, numOutputTokens / numRunning);
    const numTokens = numPromptTokens + numOutputTokens;
    return (numSteps * this.stepMs(Math.min(this.#maxNumBatchedTokens, numTokens / numSteps))) / 1000;
  }

  /** On the line between two classes; below the smallest, that class's time in proportion to its tokens. */
  #between(below: number, above: number, numTokens: number): number {
    const timeMs = this.#timesMs[above]!;
    const tokens = this.#tokens[above]!;
    if (below === -1) return (timeMs * numTokens) / tokens;
    const lowTokens = this.#tokens[below]!;
    const lowMs = this.#timesMs[below]!;
    return lowMs + ((timeMs - lowMs) * (numTokens - lowTokens)) / (tokens - lowTokens);
  }
}
