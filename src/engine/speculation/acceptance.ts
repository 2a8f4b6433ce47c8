import { DecayingMean } from "../decaying-mean.ts";

/** Share of right guesses before any was made: high, so that guessing is tried. */
const assumedRate = 0.7;
/** How far one guess moves the rate of its row, and that of all rows. */
const rowWeight = 1 / 8;
const overallWeight = 1 / 64;
/** A new row begins with the rate of all rows, which counts like so many of its own guesses. */
const numAssumedGuesses = 4;
/** How far one guess moves what is known of how many of the right guesses that are foretold come true. */
const trustWeight = 1 / 128;

/**
 * Which share of the guesses is right, for each row and over all. A guess counts if those before it were right: after a
 * wrong one nothing can be told. So a row with rate a has its guess at place i right with probability about a^i.
 *
 * A row is guessed for when its rate is high, and a high rate is in part luck: fewer come true than it foretells. That
 * share is measured as well, and what is expected is lowered by it.
 */
export class Acceptance {
  readonly #rates: DecayingMean;
  readonly #overall: DecayingMean = new DecayingMean(overallWeight);
  readonly #foretold: DecayingMean = new DecayingMean(trustWeight);
  readonly #cameTrue: DecayingMean = new DecayingMean(trustWeight);

  /** @param capacity rows of the sequence table */
  constructor(capacity: number) {
    this.#rates = new DecayingMean(rowWeight, capacity);
    this.#overall.assume(assumedRate, numAssumedGuesses);
    this.#foretold.assume(assumedRate, numAssumedGuesses);
    this.#cameTrue.assume(assumedRate, numAssumedGuesses);
  }

  open(row: number): void {
    this.#rates.assume(this.#overall.get(), numAssumedGuesses, row);
  }

  /** Of a row's `numDrafts` guesses the first `numRight` were what the model drew. */
  record(row: number, numDrafts: number, numRight: number): void {
    for (let place = 0; place < Math.min(numDrafts, numRight + 1); place += 1) {
      const isRight = place < numRight ? 1 : 0;
      this.#foretold.observe(this.#rates.get(row));
      this.#cameTrue.observe(isRight);
      this.#rates.observe(isRight, row);
      this.#overall.observe(isRight);
    }
  }

  /** How many of `numDrafts` guesses for a row are likely to be right. */
  expectedRight(row: number, numDrafts: number): number {
    const rate = this.#rate(row);
    return rate > 0.999 ? numDrafts : (rate * (1 - rate ** numDrafts)) / (1 - rate);
  }

  /** How many guesses for a row are each right with a probability above `chance`, at most `most`. */
  depth(row: number, chance: number, most: number): number {
    const rate = this.#rate(row);
    let depth = 0;
    for (let reached = rate; depth < most && reached > chance; reached *= rate) depth += 1;
    return depth;
  }

  #rate(row: number): number {
    return this.#rates.get(row) * Math.min(1, this.#cameTrue.get() / this.#foretold.get());
  }
}
