import { invariant } from "../base/invariant.ts";
import type { EngineCounters } from "./engine-stats.ts";
import type { KvManager } from "./kv-manager.ts";
import type { PrefixCache } from "./prefix-cache.ts";
import { type SequenceTable, sequenceKinds } from "./sequence-table.ts";
import type { VictimPolicy } from "./victim-policy.ts";
import type { WaitingQueue } from "./waiting-queue.ts";

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

export interface SchedulerParts {
  readonly limits: SchedulerLimits;
  readonly table: SequenceTable;
  readonly kv: KvManager;
  readonly queue: WaitingQueue;
  readonly victims: VictimPolicy;
  readonly counters: EngineCounters;
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
  readonly #kv: KvManager;
  readonly #prefixes: PrefixCache;
  readonly #counters: EngineCounters;
  readonly #queue: WaitingQueue;
  readonly #victims: VictimPolicy;
  readonly #running: Int32Array;
  readonly #isRunning: Uint8Array;
  readonly #mustFollow: (row: number) => boolean;
  readonly #plan: StepPlan;
  #numRunning = 0;

  constructor(parts: SchedulerParts) {
    const { limits, table } = parts;
    invariant(limits.maxNumSeqs <= limits.maxNumBatchedTokens, "more sequences than tokens in a step");
    this.limits = limits;
    this.#table = table;
    this.#kv = parts.kv;
    this.#prefixes = parts.kv.prefixes;
    this.#counters = parts.counters;
    this.#mustFollow = (row) => this.#prefixes.mustWait(row);
    this.#queue = parts.queue;
    this.#victims = parts.victims;
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
    return this.#queue.numWaiting;
  }

  /** Tokens that the running sequences still miss, each no more than it may have of one step. */
  get numTokensDue(): number {
    let numTokens = 0;
    for (let index = 0; index < this.#numRunning; index += 1) {
      numTokens += this.#mostTokensFor(this.#running[index]!);
    }
    return numTokens;
  }

  /** Waiting sequences that a next step could start. */
  get numStartable(): number {
    return Math.min(this.limits.maxNumSeqs - this.#numRunning, this.numWaiting);
  }

  /** A new sequence waits for its first step. The caller has checked that it fits into the empty pool. */
  add(row: number): void {
    this.#queue.enqueue(row);
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

  /**
   * Advances every planned sequence by its tokens, once they are in the cache. Drafts that were not accepted do not
   * count: what was drawn after them is computed in their place.
   */
  commit(plan: StepPlan): void {
    const { numComputed, numTokens, kind } = this.#table;
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      const count = plan.numNewTokens[index]!;
      const drawn = numTokens[row]! - 1;
      const reached = numComputed[row]! + count;
      numComputed[row] = kind[row] === sequenceKinds.score ? reached : Math.min(reached, drawn);
      this.#prefixes.publish(row);
      this.#charge(row);
    }
  }

  /** Nobody pays for what the engine computes twice, or guesses wrongly. */
  #charge(row: number): void {
    const { numServed, numComputed } = this.#table;
    const numNew = numComputed[row]! - numServed[row]!;
    if (numNew <= 0) return;
    numServed[row] = numComputed[row]!;
    this.#queue.charge(row, numNew);
  }

  /** Ends a sequence, waiting or running, and gives its blocks and its row back. */
  remove(row: number): void {
    if (this.#isRunning[row] === 1) this.#stopRunning(this.#running.indexOf(row));
    else this.#queue.remove(row);
    this.#kv.release(row);
    this.#table.close(row);
  }

  /** Plans the running sequences; false when one had to be preempted. */
  #planRunning(plan: StepPlan): boolean {
    const numPreemptionsBefore = this.#counters.get("numPreemptions");
    let index = 0;
    while (index < this.#numRunning && plan.numTokens < this.limits.maxNumBatchedTokens) {
      const row = this.#running[index]!;
      // A sequence that preempted itself has left the list: the next one stands at its index.
      if (!this.#makeRoom(row, index, plan)) continue;
      addToPlan(plan, row, this.#tokensFor(row, plan));
      index += 1;
    }
    return this.#counters.get("numPreemptions") === numPreemptionsBefore;
  }

  /**
   * Starts waiting sequences in the policy's order while budget and places last. One that does not fit holds back
   * those behind it; one whose prefix is just being computed does not. A sequence takes the blocks of all its known
   * tokens at once, so that no prefill is begun that cannot be finished, and must leave one free block for each
   * running sequence: else the next block that a running one needs would preempt the one just started.
   */
  #planWaiting(plan: StepPlan): void {
    this.#queue.callBack(this.#mustFollow);
    while (this.#numRunning < this.limits.maxNumSeqs && plan.numTokens < this.limits.maxNumBatchedTokens) {
      const row = this.#queue.peek();
      if (row === -1) return;
      if (this.#mustFollow(row)) this.#queue.setAside(row);
      else if (this.#place(row)) {
        this.#queue.remove(row);
        this.#start(row);
        addToPlan(plan, row, this.#tokensFor(row, plan));
      } else return;
    }
  }

  #place(row: number): boolean {
    if (this.#kv.tryPlace(row, this.#numRunning)) return true;
    if (this.#numRunning > 0) return false;
    // Nothing runs that could end: what preempted sequences still hold is in the way of the first of them.
    this.#kv.reclaim(Number.POSITIVE_INFINITY, row);
    return this.#kv.tryPlace(row, 0);
  }

  #start(row: number): void {
    this.#running[this.#numRunning] = row;
    this.#numRunning += 1;
    this.#isRunning[row] = 1;
  }

  /** How many tokens of a sequence still fit into the step. */
  #tokensFor(row: number, plan: StepPlan): number {
    return Math.min(this.#mostTokensFor(row), this.limits.maxNumBatchedTokens - plan.numTokens);
  }

  /** Most tokens of a sequence in one step. */
  #mostTokensFor(row: number): number {
    const missing = this.#table.numTarget[row]! - this.#table.numComputed[row]!;
    return Math.min(missing, this.limits.longPrefillTokenThreshold || missing);
  }

  /** Gets the blocks for a row's next tokens, preempting others if need be; false when `row` itself had to go. */
  #makeRoom(row: number, index: number, plan: StepPlan): boolean {
    for (;;) {
      const numTokens = this.#table.numComputed[row]! + this.#tokensFor(row, plan);
      if (this.#kv.grow(row, numTokens)) return true;
      // Guesses are not worth another sequence's place.
      if (this.#table.dropDrafts(row)) continue;
      const victimIndex = this.#victims.chooseVictim(this.#running, index, this.#numRunning);
      const victim = this.#running[victimIndex]!;
      this.#preempt(victimIndex, this.#table.blocksFor(numTokens) - this.#table.numBlocks[row]!);
      if (victim === row) return false;
    }
  }

  /** The sequence keeps its tokens, gives up as many tail blocks as are needed and waits again. */
  #preempt(index: number, numFree: number): void {
    const row = this.#running[index]!;
    this.#stopRunning(index);
    this.#table.dropDrafts(row);
    this.#kv.preempt(row, numFree);
    this.#queue.requeue(row);
    this.#table.traces.numPreemptions[row]! += 1;
    this.#counters.add("numPreemptions", 1);
  }

  #stopRunning(index: number): void {
    const row = this.#running[index]!;
    this.#running.copyWithin(index, index + 1, this.#numRunning);
    this.#numRunning -= 1;
    this.#isRunning[row] = 0;
  }
}

function addToPlan(plan: StepPlan, row: number, count: number): void {
  plan.rows[plan.numSeqs] = row;
  plan.numNewTokens[plan.numSeqs] = count;
  plan.numSeqs += 1;
  plan.numTokens += count;
}
