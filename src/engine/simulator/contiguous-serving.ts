import type { StepPlan } from "../scheduler.ts";
import { ContiguousCache } from "./contiguous-cache.ts";
import { clearPlan, commitPlan, createPlan, planRow } from "./row-plan.ts";
import { type BaselineParts, noTotals, type ServingPolicy, type ServingTotals } from "./serving-policy.ts";

/**
 * Continuous batching over contiguous KV: a sequence joins at any step at which its whole reservation fits, and leaves
 * when it ends. Nothing is preempted and nothing shared.
 */
export class ContiguousServing implements ServingPolicy {
  readonly wakeMs: number = Number.POSITIVE_INFINITY;
  readonly totals: ServingTotals = noTotals;
  readonly #parts: BaselineParts;
  readonly #cache: ContiguousCache;
  readonly #plan: StepPlan;
  readonly #running: number[] = [];

  constructor(parts: BaselineParts) {
    this.#parts = parts;
    this.#cache = new ContiguousCache(parts.numCacheTokens, parts.table);
    this.#plan = createPlan(parts.limits);
  }

  get numRunning(): number {
    return this.#running.length;
  }

  get numWaiting(): number {
    return this.#parts.queue.numWaiting;
  }

  get numHeldTokens(): number {
    return this.#cache.numHeld;
  }

  add(row: number): void {
    this.#parts.queue.enqueue(row);
  }

  schedule(): StepPlan {
    const { limits, table, queue } = this.#parts;
    const plan = this.#plan;
    clearPlan(plan);
    for (const row of this.#running) planRow(plan, row, table, limits);
    while (this.#running.length < limits.maxNumSeqs && plan.numTokens < limits.maxNumBatchedTokens) {
      const row = queue.peek();
      if (row === -1 || !this.#cache.tryReserve(row)) break;
      queue.remove(row);
      this.#running.push(row);
      planRow(plan, row, table, limits);
    }
    return plan;
  }

  takeMoves(): number {
    return 0;
  }

  commit(plan: StepPlan): void {
    commitPlan(plan, this.#parts.table);
    for (let index = 0; index < plan.numSeqs; index += 1)
      this.#parts.queue.charge(plan.rows[index]!, plan.numNewTokens[index]!);
  }

  remove(row: number): void {
    const at = this.#running.indexOf(row);
    if (at === -1) this.#parts.queue.remove(row);
    else this.#running.splice(at, 1);
    this.#cache.release(row);
    this.#parts.table.close(row);
  }
}
