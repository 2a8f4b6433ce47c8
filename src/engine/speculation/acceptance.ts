/** A row's share of accepted guesses before any was made. */
const assumedRate = 0.7;
const newWeight = 0.1;
/** After so many steps without a guess a row is given one again, to see whether its text has changed. */
const stepsBetweenProbes = 24;
/** A guess must pay by so much more than its measured cost. */
const safety = 1.15;

/**
 * Counts which guesses were right, and decides how many are worth making: a guess that stands at place i of a row with
 * acceptance rate a is right with probability about a^i, and saves one token of a step; it costs what one more token
 * makes the step longer. Depths change how fast tokens come, never which.
 */
export class Acceptance {
  readonly maxDrafts: number;
  /** [maxDrafts] guesses made and accepted at each place, since the start. */
  readonly numDrafted: Float64Array;
  readonly numAccepted: Float64Array;
  readonly #rates: Float32Array;
  readonly #quietSteps: Int32Array;

  constructor(capacity: number, maxDrafts: number) {
    this.maxDrafts = maxDrafts;
    this.numDrafted = new Float64Array(maxDrafts);
    this.numAccepted = new Float64Array(maxDrafts);
    this.#rates = new Float32Array(capacity);
    this.#quietSteps = new Int32Array(capacity);
  }

  open(row: number): void {
    this.#rates[row] = assumedRate;
    this.#quietSteps[row] = 0;
  }

  /** Of a row's `numDrafts` guesses the first `numRight` were what the model drew. */
  record(row: number, numDrafts: number, numRight: number): void {
    for (let place = 0; place < numDrafts; place += 1) {
      this.numDrafted[place]! += 1;
      if (place < numRight) this.numAccepted[place]! += 1;
      if (place <= numRight)
        this.#rates[row]! += newWeight * ((place < numRight ? 1 : 0) - this.#rates[row]!);
    }
  }

  /**
   * How many guesses to make for a row.
   * @param cost what one more token adds to a step, as a part of what a step without guesses takes per sequence
   */
  depth(row: number, cost: number): number {
    const rate = this.#rates[row]!;
    let depth = 0;
    for (let chance = rate; depth < this.maxDrafts && chance > cost * safety; chance *= rate) depth += 1;
    if (depth > 0) {
      this.#quietSteps[row] = 0;
      return depth;
    }
    this.#quietSteps[row]! += 1;
    if (this.#quietSteps[row]! < stepsBetweenProbes) return 0;
    this.#quietSteps[row] = 0;
    return 1;
  }
}
