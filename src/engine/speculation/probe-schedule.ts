/** Steps without a guess until the first probe, and at most between two. */
const firstInterval = 16;
const longestInterval = 1024;
/** Part of the time in which tokens are drawn that guessing may lose to find out whether it pays. */
const lossShare = 0.01;

/**
 * When rows for which guessing does not pay are given guesses all the same, to see whether their text has changed. Two
 * things keep that cheap: the steps between a row's probes double as long as they do not pay, and what guesses have
 * cost more than they brought is a debt that only a small part of the time that passes pays off. While there is debt,
 * nothing is probed.
 */
export class ProbeSchedule {
  readonly #intervals: Int32Array;
  /** [capacity] steps without a guess. */
  readonly #quietSteps: Int32Array;
  #debtMs = 0;

  /** @param capacity rows of the sequence table */
  constructor(capacity: number) {
    this.#intervals = new Int32Array(capacity);
    this.#quietSteps = new Int32Array(capacity);
  }

  get isInDebt(): boolean {
    return this.#debtMs > 0;
  }

  open(row: number): void {
    this.#intervals[row] = firstInterval;
    this.#quietSteps[row] = 0;
  }

  /** It did not pay to guess for the row in the last `numSteps` steps; true where it is time to probe. */
  wait(row: number, numSteps: number): boolean {
    this.#quietSteps[row]! += numSteps;
    return this.#quietSteps[row]! > this.#intervals[row]!;
  }

  /** A row's guesses were verified. Where they saved more than they cost, the next ones come at once. */
  record(row: number, hasPaid: boolean): void {
    const interval = this.#intervals[row]!;
    this.#intervals[row] = hasPaid ? firstInterval : Math.min(longestInterval, 2 * interval);
    this.#quietSteps[row] = hasPaid ? firstInterval : 0;
  }

  /** What guesses cost, above 0, or brought, below 0, in milliseconds. */
  charge(costMs: number): void {
    this.#debtMs += costMs;
  }

  /** A step took so long. Gains are not saved up: they would pay for long losses later. */
  passTime(timeMs: number): void {
    this.#debtMs = Math.max(0, this.#debtMs - lossShare * timeMs);
  }
}
