import type { SchedulerLimits, StepPlan } from "../scheduler.ts";
import type { SequenceTable } from "../sequence-table.ts";
import type { WaitingQueue } from "../waiting-queue.ts";
import { ContiguousCache } from "./contiguous-cache.ts";
import type { ServingPolicy, ServingTotals } from "./serving-policy.ts";

/** What the baselines are made of. */
export interface BaselineParts {
  readonly limits: SchedulerLimits;
  readonly table: SequenceTable;
  readonly queue: WaitingQueue;
  /** Tokens that the KV cache holds. */
  readonly numCacheTokens: number;
}

/** Nothing is preempted, swapped or shared. */
const noTotals: ServingTotals = {
  numPreemptions: 0,
  numLostTokens: 0,
  numSwappedBlocks: 0,
  numQueriedTokens: 0,
  numHitTokens: 0,
};

/**
 * Serving over contiguous KV. What is common to the baselines is here; each says who runs (`fillPlan`) and what it
 * lets go of when a running sequence ends (`leave`).
 */
export abstract class BaselineServing implements ServingPolicy {
  readonly totals: ServingTotals = noTotals;
  wakeMs: number = Number.POSITIVE_INFINITY;
  protected readonly limits: SchedulerLimits;
  protected readonly table: SequenceTable;
  protected readonly queue: WaitingQueue;
  protected readonly cache: ContiguousCache;
  protected readonly plan: StepPlan;

  constructor({ limits, table, queue, numCacheTokens }: BaselineParts) {
    this.limits = limits;
    this.table = table;
    this.queue = queue;
    this.cache = new ContiguousCache(numCacheTokens, table);
    this.plan = {
      numSeqs: 0,
      numTokens: 0,
      rows: new Int32Array(limits.maxNumSeqs),
      numNewTokens: new Int32Array(limits.maxNumSeqs),
    };
  }

  abstract get numRunning(): number;
  abstract get numHeldTokens(): number;

  get numWaiting(): number {
    return this.queue.numWaiting;
  }

  add(row: number, _nowMs: number): void {
    this.queue.enqueue(row);
  }

  schedule(nowMs: number, nextArrivalMs: number): StepPlan {
    this.plan.numSeqs = 0;
    this.plan.numTokens = 0;
    this.fillPlan(nowMs, nextArrivalMs);
    return this.plan;
  }

  takeMoves(): number {
    return 0;
  }

  commit({ numSeqs, rows, numNewTokens }: StepPlan): void {
    for (let index = 0; index < numSeqs; index += 1) {
      const row = rows[index]!;
      this.table.numComputed[row]! += numNewTokens[index]!;
      this.queue.charge(row, numNewTokens[index]!);
    }
  }

  remove(row: number): void {
    if (!this.leave(row)) this.queue.remove(row);
    this.cache.release(row);
    this.table.close(row);
  }

  /** Fills the empty plan by `planRow`. */
  protected abstract fillPlan(nowMs: number, nextArrivalMs: number): void;

  /** A sequence ends; false when it was still waiting. */
  protected abstract leave(row: number): boolean;

  /** Plans as many tokens of a row as it misses and the step still takes. */
  protected planRow(row: number): void {
    const { plan, table, limits } = this;
    const missing = table.numTarget[row]! - table.numComputed[row]!;
    const most = limits.longPrefillTokenThreshold || missing;
    const count = Math.min(missing, most, limits.maxNumBatchedTokens - plan.numTokens);
    if (count <= 0) return;
    plan.rows[plan.numSeqs] = row;
    plan.numNewTokens[plan.numSeqs] = count;
    plan.numSeqs += 1;
    plan.numTokens += count;
  }
}
