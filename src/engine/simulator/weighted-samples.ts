/** Times in milliseconds, summed up. */
export interface SampleSummary {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * Samples of which many are equal: each value is kept once for every `add`, with the number of samples it stands for.
 * All sequences of a step wait equally long for their next token, so a simulated hour needs few entries.
 */
export class WeightedSamples {
  #values: Float64Array = new Float64Array(1024);
  #counts: Float64Array = new Float64Array(1024);
  #numEntries = 0;

  add(value: number, count: number): void {
    if (count === 0) return;
    if (this.#numEntries === this.#values.length) this.#grow();
    this.#values[this.#numEntries] = value;
    this.#counts[this.#numEntries] = count;
    this.#numEntries += 1;
  }

  /** Percentiles interpolate linearly between order statistics (Hyndman and Fan 1996, type 7); null for no samples. */
  summary(): SampleSummary | null {
    if (this.#numEntries === 0) return null;
    const order = Uint32Array.from({ length: this.#numEntries }, (_, index) => index);
    order.sort((a, b) => this.#values[a]! - this.#values[b]!);
    const sorted = new Float64Array(this.#numEntries);
    /** [entries] samples up to and with each entry. */
    const ends = new Float64Array(this.#numEntries);
    let count = 0;
    let sum = 0;
    for (const [index, entry] of order.entries()) {
      sorted[index] = this.#values[entry]!;
      count += this.#counts[entry]!;
      sum += this.#values[entry]! * this.#counts[entry]!;
      ends[index] = count;
    }
    const percentile = (share: number): number => {
      const position = (count - 1) * share;
      const below = Math.floor(position);
      const low = sorted[entryOf(ends, below)]!;
      const high = sorted[entryOf(ends, Math.min(below + 1, count - 1))]!;
      return low + (high - low) * (position - below);
    };
    return {
      count,
      mean: sum / count,
      p50: percentile(0.5),
      p90: percentile(0.9),
      p95: percentile(0.95),
      p99: percentile(0.99),
      max: sorted[sorted.length - 1]!,
    };
  }

  #grow(): void {
    const values = new Float64Array(this.#values.length * 2);
    const counts = new Float64Array(this.#counts.length * 2);
    values.set(this.#values);
    counts.set(this.#counts);
    this.#values = values;
    this.#counts = counts;
  }
}

/** The first entry whose end lies beyond sample `index`. */
function entryOf(ends: Float64Array, index: number): number {
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle]! > index) high = middle;
    else low = middle + 1;
  }
  return low;
}
