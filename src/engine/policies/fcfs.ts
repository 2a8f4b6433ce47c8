import type { SchedulingPolicy } from "../scheduling-policy.ts";
import { RowLists } from "./row-lists.ts";

/**
 * First come, first served. A preempted sequence comes back to its place by arrival, so the queue is always in order
 * of arrival and nobody starves: only those that arrived earlier can start before one.
 */
export class FcfsPolicy implements SchedulingPolicy {
  readonly #rows: RowLists;
  #numWaiting = 0;

  /** @param numRows rows of the sequence table */
  constructor(numRows: number) {
    this.#rows = new RowLists(numRows, 1);
  }

  get numWaiting(): number {
    return this.#numWaiting;
  }

  enqueue(row: number): void {
    this.#rows.append(0, row);
    this.#numWaiting += 1;
  }

  requeue(row: number): void {
    this.#rows.restore(0, row);
    this.#numWaiting += 1;
  }

  peek(): number {
    return this.#rows.first(0);
  }

  remove(row: number): void {
    this.#rows.remove(row);
    this.#numWaiting -= 1;
  }

  setAside(row: number): void {
    this.remove(row);
  }

  callBack(row: number): void {
    this.requeue(row);
  }

  charge(_row: number, _numTokens: number): void {
    // Service does not change the order of arrival.
  }

  isAhead(_row: number, _priority: number, _tenant: number): boolean {
    return true;
  }
}
