import { invariant } from "../base/invariant.ts";
import type { BlockPool } from "./block-pool.ts";
import type { SchedulingPolicy } from "./scheduling-policy.ts";
import type { SequenceTable } from "./sequence-table.ts";

export interface SchedulerLimits {
  /** Most tokens in one step, all sequences together. */
  readonly maxNumBatchedTokens: number;
  /** Most sequences that run at the same time. */
  readonly maxNumSeqs: number;
  /** Most tokens of one sequence in one step; 0 for no limit beside the step's own. */
  readonly longPrefillTokenThreshold: number;
}

/** What one step computes. The arrays are reused: a plan is valid until the next `schedule`. */
export interface StepPlan {
  numSeqs: number;
  numTokens: number;
  /** [numSeqs] rows of the sequence table, in the order of admission. */
  readonly rows: Int32Array;
  /** [numSeqs] tokens to compute, from `numComputed[row]` on. */
  readonly numNewTokens: Int32Array;
}

/**
 * Decides which tokens the next step computes. There is no prefill phase and no decode phase: every sequence has
 * tokens to catch up with, and a step hands out its token budget, to running sequences first, then to waiting ones
 * (the idea of vLLM's V1 scheduler). Pure: no I/O, no clock, no model; equal calls give equal plans.
 *
 * Where a sequence waits or runs, its row of the table says how far it is; the lists here hold rows only.
 */
export class Scheduler {
  readonly limits: SchedulerLimits;
  readonly #table: SequenceTable;
  readonly #pool: BlockPool;
  readonly #policy: SchedulingPolicy;
  readonly #running: Int32Array;
  readonly #isRunning: Uint8Array;
  readonly #plan: StepPlan;
  #numRunning = 0;
  #numPreemptions = 0;

  constructor(limits: SchedulerLimits, table: SequenceTable, pool: BlockPool, policy: SchedulingPolicy) {
    invariant(limits.maxNumSeqs <= limits.maxNumBatchedTokens, "more sequences than tokens in a step");
    this.limits = limits;
    this.#table = table;
    this.#pool = pool;
    this.#policy = policy;
    this.#running = new Int32Array(limits.maxNumSeqs);
    this.#isRunning = new Uint8Array(table.capacity);
    this.#plan = {
      numSeqs: 0,
      numTokens: 0,
      rows: new Int32Array(limits.maxNumSeqs),
      numNewTokens: new Int32Array(limits.maxNumSeqs),
    };
  }

  get numRunning(): number {
    return this.#numRunning;
  }

  get numWaiting(): number {
    return this.#policy.numWaiting;
  }

  /** Sequences that were preempted since the start. */
  get numPreemptions(): number {
    return this.#numPreemptions;
  }

  /** Rows that run, in order of admission; valid up to `numRunning`, until the next change. */
  get running(): Int32Array {
    return this.#running;
  }

  /** A new sequence waits for its first step. The caller has checked that it fits into the empty pool. */
  add(row: number): void {
    this.#policy.enqueue(row);
  }

  /** Plans one step and takes the blocks that it needs. An empty plan means that nothing is open. */
  schedule(): StepPlan {
    const plan = this.#plan;
    plan.numSeqs = 0;
    plan.numTokens = 0;
    const isRoomy = this.#planRunning(plan);
    if (isRoomy) this.#planWaiting(plan);
    invariant(
      plan.numSeqs > 0 || this.#numRunning + this.numWaiting === 0,
      "open sequences, but nothing to do",
    );
    return plan;
  }

  /** Advances every planned sequence by its tokens, once they are in the cache. */
  commit(plan: StepPlan): void {
    for (let index = 0; index < plan.numSeqs; index += 1) {
      this.#table.numComputed[plan.rows[index]!]! += plan.numNewTokens[index]!;
    }
  }

  /** Ends a sequence, waiting or running, and gives its blocks and its row back. */
  remove(row: number): void {
    if (this.#isRunning[row] === 1) this.#stopRunning(this.#running.indexOf(row));
    else this.#policy.remove(row);
    this.#releaseBlocks(row);
    this.#table.close(row);
  }

  /** Plans the running sequences; false when one had to be preempted. */
  #planRunning(plan: StepPlan): boolean {
    const numPreemptionsBefore = this.#numPreemptions;
    let index = 0;
    while (index < this.#numRunning && plan.numTokens < this.limits.maxNumBatchedTokens) {
      const row = this.#running[index]!;
      const count = this.#tokensFor(row, plan);
      // A sequence that preempted itself has left the list: the next one stands at its index.
      if (!this.#makeRoom(row, index, this.#table.numComputed[row]! + count)) continue;
      addToPlan(plan, row, count);
      index += 1;
    }
    return this.#numPreemptions === numPreemptionsBefore;
  }

  /**
   * Starts waiting sequences in the policy's order while budget and places last. One that does not fit holds back
   * those behind it. A sequence takes the blocks of all its known tokens at once, so that no prefill is begun that
   * cannot be finished, and must leave one free block for each running sequence: else the next block that a
   * running one needs would preempt the one just started.
   */
  #planWaiting(plan: StepPlan): void {
    while (this.#numRunning < this.limits.maxNumSeqs && plan.numTokens < this.limits.maxNumBatchedTokens) {
      const row = this.#policy.peek();
      if (row === -1) return;
      const numBlocks = this.#table.blocksFor(this.#table.numTarget[row]!);
      if (numBlocks + this.#numRunning > this.#pool.numFree) return;
      this.#policy.remove(row);
      invariant(this.#growTo(row, numBlocks), "blocks vanished between count and allocation");
      this.#running[this.#numRunning] = row;
      this.#numRunning += 1;
      this.#isRunning[row] = 1;
      addToPlan(plan, row, this.#tokensFor(row, plan));
    }
  }

  /** How many tokens of a sequence still fit into the step. */
  #tokensFor(row: number, plan: StepPlan): number {
    const missing = this.#table.numTarget[row]! - this.#table.numComputed[row]!;
    const threshold = this.limits.longPrefillTokenThreshold || missing;
    return Math.min(missing, threshold, this.limits.maxNumBatchedTokens - plan.numTokens);
  }

  /** Gets the blocks for `numTokens` tokens, preempting others if need be; false when `row` itself had to go. */
  #makeRoom(row: number, index: number, numTokens: number): boolean {
    const numBlocks = this.#table.blocksFor(numTokens);
    while (!this.#growTo(row, numBlocks)) {
      const victimIndex = this.#policy.chooseVictim(this.#running, index, this.#numRunning);
      const victim = this.#running[victimIndex]!;
      this.#preempt(victimIndex);
      if (victim === row) return false;
    }
    return true;
  }

  #growTo(row: number, numBlocks: number): boolean {
    const held = this.#table.numBlocks[row]!;
    if (numBlocks <= held) return true;
    if (numBlocks - held > this.#pool.numFree) return false;
    this.#pool.tryAllocate(numBlocks - held, this.#table.reserveBlocks(row, numBlocks), held);
    this.#table.numBlocks[row] = numBlocks;
    return true;
  }

  /** Preemption by recomputation: the sequence keeps its tokens, gives all blocks back and waits again. */
  #preempt(index: number): void {
    const row = this.#running[index]!;
    this.#stopRunning(index);
    this.#releaseBlocks(row);
    this.#table.numComputed[row] = 0;
    this.#policy.requeue(row);
    this.#numPreemptions += 1;
  }

  #stopRunning(index: number): void {
    const row = this.#running[index]!;
    this.#running.copyWithin(index, index + 1, this.#numRunning);
    this.#numRunning -= 1;
    this.#isRunning[row] = 0;
  }

  #releaseBlocks(row: number): void {
    this.#pool.release(this.#table.blockTable(row), this.#table.numBlocks[row]!);
    this.#table.numBlocks[row] = 0;
  }
}

function addToPlan(plan: StepPlan, row: number, count: number): void {
  plan.rows[plan.numSeqs] = row;
  plan.numNewTokens[plan.numSeqs] = count;
  plan.numSeqs += 1;
  plan.numTokens += count;
}
