/**
 * The distinct tokens of one sequence and how often each stands in its output, for penalties. Adding a token costs
 * the same however many there are; arrays only ever grow, by doubling.
 */
export class TokenHistory {
  #ids: Int32Array = new Int32Array(32);
  #counts: Int32Array = new Int32Array(32);
  /** Open-addressed places of ids, −1 = empty; twice as long as `#ids`. */
  #places: Int32Array = new Int32Array(64).fill(-1);
  #size = 0;

  /** Number of distinct tokens. */
  get size(): number {
    return this.#size;
  }

  /** @param times 1 for a token of the output, 0 for one of the prompt */
  add(id: number, times: number): void {
    const slot = this.#slotOf(id);
    const place = this.#places[slot]!;
    if (place >= 0) {
      this.#counts[place]! += times;
      return;
    }
    this.#ids[this.#size] = id;
    this.#counts[this.#size] = times;
    this.#places[slot] = this.#size;
    this.#size += 1;
    if (this.#size === this.#ids.length) this.#grow();
  }

  /** How often a token stands in the output. */
  countOf(id: number): number {
    const place = this.#places[this.#slotOf(id)]!;
    return place < 0 ? 0 : this.#counts[place]!;
  }

  /** Entries that `copyInto` writes: the distinct tokens, and some behind them that mean nothing. */
  get numCopied(): number {
    return this.#ids.length;
  }

  /** Writes ids and counts from entry `at` on, in order of first appearance; there must be room for `numCopied`. */
  copyInto(ids: Int32Array, counts: Int32Array, at: number): void {
    // Whole arrays: a view of the part in use would be two objects per token, and a loop is slower from twenty on.
    ids.set(this.#ids, at);
    counts.set(this.#counts, at);
  }

  #slotOf(id: number): number {
    const last = this.#places.length - 1;
    let slot = Math.imul(id, 0x9e3779b1) >>> 7;
    for (;;) {
      slot &= last;
      const place = this.#places[slot]!;
      if (place < 0 || this.#ids[place] === id) return slot;
      slot += 1;
    }
  }

  #grow(): void {
    const ids = new Int32Array(this.#ids.length * 2);
    const counts = new Int32Array(ids.length);
    ids.set(this.#ids);
    counts.set(this.#counts);
    this.#ids = ids;
    this.#counts = counts;
    this.#places = new Int32Array(ids.length * 2).fill(-1);
    for (let place = 0; place < this.#size; place += 1) this.#places[this.#slotOf(ids[place]!)] = place;
  }
}
