import { invariant } from "../../base/invariant.ts";

/**
 * Linked lists of rows, each in order of arrival, a row in at most one of them. Arrival is counted here: `append`
 * gives a row the next number, and `restore` brings a row back to the place that its number has.
 */
export class RowLists {
  /** Arrival number of each row; exact up to 2^53. */
  readonly arrivals: Float64Array;
  /** Rings with one sentinel per list behind the rows; a row that is in no list links to −1. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #numRows: number;
  #nextArrival = 0;

  constructor(numRows: number, numLists: number) {
    this.arrivals = new Float64Array(numRows);
    this.#numRows = numRows;
    this.#next = new Int32Array(numRows + numLists).fill(-1);
    this.#previous = new Int32Array(numRows + numLists).fill(-1);
    for (let sentinel = numRows; sentinel < numRows + numLists; sentinel += 1) {
      this.#next[sentinel] = sentinel;
      this.#previous[sentinel] = sentinel;
    }
  }

  /** The row of a list that arrived first, or −1. */
  first(list: number): number {
    const row = this.#next[this.#numRows + list]!;
    return row >= this.#numRows ? -1 : row;
  }

  /** A new row, at the end. */
  append(list: number, row: number): void {
    this.arrivals[row] = this.#nextArrival;
    this.#nextArrival += 1;
    this.#insertAfter(this.#previous[this.#numRows + list]!, row);
  }

  /**
   * A row that was in the list before. Its place is looked for from the front: only rows that were once first, and so
   * arrived early, come back.
   */
  restore(list: number, row: number): void {
    const arrival = this.arrivals[row]!;
    let previous = this.#numRows + list;
    for (;;) {
      const next = this.#next[previous]!;
      if (next >= this.#numRows || this.arrivals[next]! > arrival) break;
      previous = next;
    }
    this.#insertAfter(previous, row);
  }

  remove(row: number): void {
    const next = this.#next[row]!;
    const previous = this.#previous[row]!;
    invariant(next !== -1, `row ${row} is not waiting`);
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#next[row] = -1;
    this.#previous[row] = -1;
  }

  #insertAfter(previous: number, row: number): void {
    invariant(this.#next[row] === -1, `row ${row} is already waiting`);
    const next = this.#next[previous]!;
    this.#next[previous] = row;
    this.#previous[row] = previous;
    this.#next[row] = next;
    this.#previous[next] = row;
  }
}
