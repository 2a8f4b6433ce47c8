import { DecayingMean } from "./decaying-mean.ts";

/** The last thirty or so steps of a size count. */
const newWeight = 1 / 16;
/** Steps are sorted by size: class c holds 2^c … 2^(c + 1) − 1 tokens. */
const numClasses = 24;

/**
 * How long steps take, from those seen so far. A step costs a fixed part (the weights stream through once) and a part
 * per token, so tokens per second say little without the size of the step: one token may take as long as fifty. So the
 * mean time is kept per size class and read by interpolation.
 */
export class StepTimes {
  /** [classes] mean tokens and milliseconds of the steps seen. */
  readonly #tokens: DecayingMean = new DecayingMean(newWeight, numClasses);
  readonly #timesMs: DecayingMean = new DecayingMean(newWeight, numClasses);
  readonly #outlierFactor: number;

  /**
   * @param outlierFactor a time above so many times the mean of its class counts as that, and a mean above so many
   * times a new time comes down to that: a step that the machine held up, the very first one too, says little of what
   * steps cost. Default: every time counts as it is
   */
  constructor(outlierFactor: number = Number.POSITIVE_INFINITY) {
    this.#outlierFactor = outlierFactor;
  }

  /** A step computed `numTokens` tokens in `timeMs` milliseconds. */
  observe(numTokens: number, timeMs: number): void {
    if (numTokens < 1) return;
    const index = classOf(numTokens);
    this.#tokens.observe(numTokens, index);
    const numSeen = this.#timesMs.numSeen(index);
    const meanMs = this.#timesMs.get(index);
    const mostMs = this.#outlierFactor * timeMs;
    if (meanMs > mostMs) this.#timesMs.assume(mostMs, numSeen, index);
    this.#timesMs.observe(numSeen === 0 ? timeMs : Math.min(timeMs, this.#outlierFactor * meanMs), index);
  }

  /** Steps seen that were about as large. */
  numSeen(numTokens: number): number {
    return this.#tokens.numSeen(classOf(numTokens));
  }

  /**
   * Milliseconds that a step of so many tokens takes; 0 before the first step. A step larger than any seen counts as
   * long as the largest seen: never longer than what was measured gives reason for.
   */
  stepMs(numTokens: number): number {
    let below = -1;
    for (let index = 0; index < numClasses; index += 1) {
      const tokens = this.#tokens.get(index);
      if (tokens === 0) continue;
      if (tokens >= numTokens) return this.#between(below, index, numTokens);
      below = index;
    }
    return below === -1 ? 0 : this.#timesMs.get(below);
  }

  /** Mean tokens of the largest steps of which at least `minSteps` were seen; 0 if there are none. */
  largestSeen(minSteps: number): number {
    for (let index = numClasses - 1; index >= 0; index -= 1) {
      if (this.#tokens.numSeen(index) >= minSteps) return this.#tokens.get(index);
    }
    return 0;
  }

  /** Milliseconds per token in the largest steps seen, those of `minTokens` and more; 0 if there was none. */
  msPerToken(minTokens: number): number {
    for (let index = numClasses - 1; index >= 0; index -= 1) {
      const tokens = this.#tokens.get(index);
      if (tokens >= minTokens) return this.#timesMs.get(index) / tokens;
    }
    return 0;
  }

  /** On the line between two classes; below the smallest, that class's time in proportion to its tokens. */
  #between(below: number, above: number, numTokens: number): number {
    const timeMs = this.#timesMs.get(above);
    const tokens = this.#tokens.get(above);
    if (below === -1) return (timeMs * numTokens) / tokens;
    const lowTokens = this.#tokens.get(below);
    const lowMs = this.#timesMs.get(below);
    return lowMs + ((timeMs - lowMs) * (numTokens - lowTokens)) / (tokens - lowTokens);
  }
}

function classOf(numTokens: number): number {
  return Math.min(numClasses - 1, 31 - Math.clz32(numTokens));
}
