/**
 * A mean in which what was measured last counts most; or several, side by side in typed arrays. The first measurements
 * count alike, so that one odd beginning does not stand for long; later ones move the mean by `newWeight` of the
 * difference (an exponentially weighted moving average).
 */
export class DecayingMean {
  readonly #newWeight: number;
  /** [count] */
  readonly #values: Float64Array;
  readonly #numSeen: Float64Array;

  /** @param newWeight 1 / 16 means that the last thirty or so measurements count */
  constructor(newWeight: number, count = 1) {
    this.#newWeight = newWeight;
    this.#values = new Float64Array(count);
    this.#numSeen = new Float64Array(count);
  }

  /** 0 before the first measurement, unless something else was assumed. */
  get(index = 0): number {
    return this.#values[index]!;
  }

  numSeen(index = 0): number {
    return this.#numSeen[index]!;
  }

  observe(value: number, index = 0): void {
    this.#numSeen[index]! += 1;
    const weight = Math.max(this.#newWeight, 1 / this.#numSeen[index]!);
    this.#values[index]! += weight * (value - this.#values[index]!);
  }

  /** Starts anew with a value that counts like so many measurements. */
  assume(value: number, numSeen: number, index = 0): void {
    this.#values[index] = value;
    this.#numSeen[index] = numSeen;
  }
}
