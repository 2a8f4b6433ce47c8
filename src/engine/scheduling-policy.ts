import { invariant } from "../base/invariant.ts";

/**
 * The order in which sequences wait, and who gives way when no block is free. Rows are those of the sequence table.
 * A policy holds no clock and draws no random numbers: equal calls give equal answers.
 */
export interface SchedulingPolicy {
  readonly numWaiting: number;
  /** A new sequence. */
  enqueue(row: number): void;
  /** A preempted sequence, which waits again. */
  requeue(row: number): void;
  /** The next to start, or −1. It stays in the queue. */
  peek(): number;
  /** Takes a waiting sequence out, wherever it stands. */
  remove(row: number): void;
  /**
   * Index in `running` of the sequence to preempt. Candidates are running[from … numRunning − 1]: those that this
   * step has not planned yet, the one in need (at `from`) included.
   */
  chooseVictim(running: Int32Array, from: number, numRunning: number): number;
}

/**
 * First come, first served. Preempts the newest, which then waits in front of all others, so that the queue is
 * always in order of arrival.
 */
export class FcfsPolicy implements SchedulingPolicy {
  /** Ring of rows with a sentinel at `capacity`; a row that is not waiting links to −1. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #sentinel: number;
  #numWaiting = 0;

  /** @param capacity rows of the sequence table */
  constructor(capacity: number) {
    this.#sentinel = capacity;
    this.#next = new Int32Array(capacity + 1).fill(-1);
    this.#previous = new Int32Array(capacity + 1).fill(-1);
    this.#next[capacity] = capacity;
    this.#previous[capacity] = capacity;
  }

  get numWaiting(): number {
    return this.#numWaiting;
  }

  enqueue(row: number): void {
    this.#insertAfter(this.#previous[this.#sentinel]!, row);
  }

  requeue(row: number): void {
    this.#insertAfter(this.#sentinel, row);
  }

  peek(): number {
    const first = this.#next[this.#sentinel]!;
    return first === this.#sentinel ? -1 : first;
  }

  remove(row: number): void {
    const next = this.#next[row]!;
    const previous = this.#previous[row]!;
    invariant(next !== -1, `row ${row} is not waiting`);
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#next[row] = -1;
    this.#previous[row] = -1;
    this.#numWaiting -= 1;
  }

  chooseVictim(_running: Int32Array, _from: number, numRunning: number): number {
    return numRunning - 1;
  }

  #insertAfter(previous: number, row: number): void {
    invariant(this.#next[row] === -1, `row ${row} is already waiting`);
    const next = this.#next[previous]!;
    this.#next[previous] = row;
    this.#previous[row] = previous;
    this.#next[row] = next;
    this.#previous[next] = row;
    this.#numWaiting += 1;
  }
}
