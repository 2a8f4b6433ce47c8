import { invariant } from "../base/invariant.ts";
import type { SchedulingPolicy } from "./scheduling-policy.ts";
import type { TenantTable } from "./tenant-table.ts";

/** Waiting rows that are sure to start before a newcomer. Filled again for each question. */
export interface RowsAhead {
  numRows: number;
  numTokens: number;
}

/** A policy's queue with its books: how many rows and how many tokens wait, in all and of each tenant. */
export class WaitingQueue implements SchedulingPolicy {
  readonly #policy: SchedulingPolicy;
  readonly #tenants: TenantTable;
  /** [rows] tokens to compute before something can be drawn; read when a row is enqueued. */
  readonly #numTokens: Int32Array;
  readonly #isWaiting: Uint8Array;
  /** [rows] what a waiting row counts in the sum below. */
  readonly #counted: Int32Array;
  /** [slots] waiting rows. */
  readonly #numWaitingOf: Int32Array;
  #numWaitingTokens = 0;

  constructor(policy: SchedulingPolicy, tenants: TenantTable, numTokens: Int32Array) {
    this.#policy = policy;
    this.#tenants = tenants;
    this.#numTokens = numTokens;
    this.#isWaiting = new Uint8Array(numTokens.length);
    this.#counted = new Int32Array(numTokens.length);
    this.#numWaitingOf = new Int32Array(tenants.numSlots);
  }

  get numWaiting(): number {
    return this.#policy.numWaiting;
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
    this.#count(row, 1);
  }

  requeue(row: number): void {
    this.#policy.requeue(row);
    this.#count(row, 1);
  }

  peek(): number {
    return this.#policy.peek();
  }

  remove(row: number): void {
    this.#policy.remove(row);
    this.#count(row, -1);
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
    for (let row = 0; row < this.#isWaiting.length; row += 1) {
      if (this.#isWaiting[row] === 0 || !this.isAhead(row, priority, tenant)) continue;
      into.numRows += 1;
      into.numTokens += this.#counted[row]!;
    }
  }

  #count(row: number, difference: 1 | -1): void {
    invariant(this.#isWaiting[row] === (difference === 1 ? 0 : 1), `row ${row} is counted twice`);
    this.#isWaiting[row] = difference === 1 ? 1 : 0;
    this.#numWaitingOf[this.#tenants.ofRow[row]!]! += difference;
    if (difference === 1) this.#counted[row] = this.#numTokens[row]!;
    this.#numWaitingTokens += difference * this.#counted[row]!;
  }
}
