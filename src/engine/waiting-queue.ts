import { invariant } from "../base/invariant.ts";
import type { SchedulingPolicy } from "./scheduling-policy.ts";
import type { TenantTable } from "./tenant-table.ts";

/** Waiting rows that are sure to start before a newcomer. Filled again for each question. */
export interface RowsAhead {
  numRows: number;
  numTokens: number;
}

/** Where a row stands: not waiting, offered by the policy, or set aside. */
const states = { none: 0, queued: 1, aside: 2 } as const;

/**
 * A policy's queue with its books: how many rows and how many tokens wait, in all and of each tenant. Rows that were
 * set aside wait too, for something else than their turn: they count everywhere, but the policy does not offer them.
 */
export class WaitingQueue {
  readonly #policy: SchedulingPolicy;
  readonly #tenants: TenantTable;
  /** [rows] tokens to compute before something can be drawn; read when a row is enqueued. */
  readonly #numTokens: Int32Array;
  /** [rows] see `states`. */
  readonly #states: Uint8Array;
  /** [rows] what a waiting row counts in the sum below. */
  readonly #counted: Int32Array;
  /** [slots] waiting rows. */
  readonly #numWaitingOf: Int32Array;
  /** Rows that were set aside, longest ago first. */
  readonly #aside: number[] = [];
  #numWaitingTokens = 0;

  constructor(policy: SchedulingPolicy, tenants: TenantTable, numTokens: Int32Array) {
    this.#policy = policy;
    this.#tenants = tenants;
    this.#numTokens = numTokens;
    this.#states = new Uint8Array(numTokens.length);
    this.#counted = new Int32Array(numTokens.length);
    this.#numWaitingOf = new Int32Array(tenants.numSlots);
  }

  get numWaiting(): number {
    return this.#policy.numWaiting + this.#aside.length;
  }

  /** Those of them that were set aside. */
  get numAside(): number {
    return this.#aside.length;
  }

  /** Prompt tokens of all waiting rows. */
  get numWaitingTokens(): number {
    return this.#numWaitingTokens;
  }

  /** Waiting rows of a tenant; 0 for slot −1. */
  numWaitingOf(tenant: number): number {
    return this.#numWaitingOf[tenant] ?? 0;
  }

  enqueue(row: number): void {
    this.#policy.enqueue(row);
    this.#count(row);
  }

  requeue(row: number): void {
    this.#policy.requeue(row);
    this.#count(row);
  }

  peek(): number {
    return this.#policy.peek();
  }

  remove(row: number): void {
    if (this.#states[row] === states.aside) {
      this.#aside.splice(this.#aside.indexOf(row), 1);
      this.#policy.callBack(row);
    }
    this.#policy.remove(row);
    this.#uncount(row);
  }

  /** A waiting row that could have its turn, but must not start yet. It keeps its place by arrival. */
  setAside(row: number): void {
    invariant(this.#states[row] === states.queued, `row ${row} is set aside, but not in the queue`);
    this.#policy.setAside(row);
    this.#states[row] = states.aside;
    this.#aside.push(row);
  }

  /** Rows that were set aside and need not stay so come back to their places. */
  callBack(mustStay: (row: number) => boolean): void {
    for (let index = this.#aside.length - 1; index >= 0; index -= 1) {
      const row = this.#aside[index]!;
      if (mustStay(row)) continue;
      this.#aside.splice(index, 1);
      this.#states[row] = states.queued;
      this.#policy.callBack(row);
    }
  }

  charge(row: number, numTokens: number): void {
    this.#policy.charge(row, numTokens);
  }

  isAhead(row: number, priority: number, tenant: number): boolean {
    return this.#policy.isAhead(row, priority, tenant);
  }

  /** Counts what is sure to start before a newcomer. Looks at every row, so only for requests that need it. */
  measureAhead(priority: number, tenant: number, into: RowsAhead): void {
    into.numRows = 0;
    into.numTokens = 0;
    if (this.numWaiting === 0) return;
    for (let row = 0; row < this.#states.length; row += 1) {
      if (this.#states[row] === states.none || !this.isAhead(row, priority, tenant)) continue;
      into.numRows += 1;
      into.numTokens += this.#counted[row]!;
    }
  }

  #count(row: number): void {
    invariant(this.#states[row] === states.none, `row ${row} waits already`);
    this.#states[row] = states.queued;
    this.#numWaitingOf[this.#tenants.ofRow[row]!]! += 1;
    this.#counted[row] = this.#numTokens[row]!;
    this.#numWaitingTokens += this.#counted[row]!;
  }

  #uncount(row: number): void {
    invariant(this.#states[row] !== states.none, `row ${row} does not wait`);
    this.#states[row] = states.none;
    this.#numWaitingOf[this.#tenants.ofRow[row]!]! -= 1;
    this.#numWaitingTokens -= this.#counted[row]!;
  }
}
