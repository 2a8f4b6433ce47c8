import { IndexedHeap } from "./indexed-heap.ts";

/** Deadlines of open rows, by the clock that the caller reads. Setting one, and taking it back, is O(log rows). */
export class Deadlines {
  /** [rows] milliseconds on the caller's clock; meaningful for rows in the heap. */
  readonly #timesMs: Float64Array;
  readonly #heap: IndexedHeap;

  constructor(numRows: number) {
    const timesMs = new Float64Array(numRows);
    this.#timesMs = timesMs;
    this.#heap = new IndexedHeap(numRows, (a, b) => timesMs[a]! < timesMs[b]!);
  }

  /** Rows that have a deadline. */
  get size(): number {
    return this.#heap.size;
  }

  /** The next deadline; Infinity when there is none. */
  get nextMs(): number {
    const row = this.#heap.first;
    return row === -1 ? Infinity : this.#timesMs[row]!;
  }

  /** Gives a row, which must have none, a deadline. */
  set(row: number, timeMs: number): void {
    this.#timesMs[row] = timeMs;
    this.#heap.add(row);
  }

  /** Takes a row's deadline back, if it has one. */
  clear(row: number): void {
    if (this.#heap.has(row)) this.#heap.remove(row);
  }

  /**
   * Takes out the rows whose deadline is `nowMs` or earlier, the earliest first, and writes them into `into`, as
   * many as it holds. Returns how many; the rest comes with the next call.
   */
  expired(nowMs: number, into: Int32Array): number {
    let count = 0;
    while (count < into.length && this.nextMs <= nowMs) {
      const row = this.#heap.first;
      this.#heap.remove(row);
      into[count] = row;
      count += 1;
    }
    return count;
  }
}
