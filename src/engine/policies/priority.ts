import { IndexedHeap } from "../indexed-heap.ts";
import type { SchedulingPolicy } from "../scheduling-policy.ts";

/**
 * The lower priority number first, equal ones by arrival.
 *
 * There is no aging, as in vLLM: a number means the same at every moment, and an operator who wants low priorities
 * to get through in spite of high ones wants shares, which is what fair queueing is for. So a priority starves while
 * higher ones keep the engine full; a deadline ends such a wait with an error.
 */
export class PriorityPolicy implements SchedulingPolicy {
  readonly #priorities: Int32Array;
  /** Arrival number of each row; exact up to 2^53. */
  readonly #arrivals: Float64Array;
  readonly #heap: IndexedHeap;
  #nextArrival = 0;

  /** @param priorities [rows of the sequence table] fixed while a row is open */
  constructor(priorities: Int32Array) {
    this.#priorities = priorities;
    this.#arrivals = new Float64Array(priorities.length);
    this.#heap = new IndexedHeap(priorities.length, (a, b) => this.#isBefore(a, b));
  }

  get numWaiting(): number {
    return this.#heap.size;
  }

  enqueue(row: number): void {
    this.#arrivals[row] = this.#nextArrival;
    this.#nextArrival += 1;
    this.#heap.add(row);
  }

  requeue(row: number): void {
    this.#heap.add(row);
  }

  peek(): number {
    return this.#heap.first;
  }

  remove(row: number): void {
    this.#heap.remove(row);
  }

  setAside(row: number): void {
    this.remove(row);
  }

  callBack(row: number): void {
    this.requeue(row);
  }

  charge(_row: number, _numTokens: number): void {
    // Service does not change a priority.
  }

  isAhead(row: number, priority: number, _tenant: number): boolean {
    return this.#priorities[row]! <= priority;
  }

  #isBefore(a: number, b: number): boolean {
    const difference = this.#priorities[a]! - this.#priorities[b]!;
    return difference === 0 ? this.#arrivals[a]! < this.#arrivals[b]! : difference < 0;
  }
}
