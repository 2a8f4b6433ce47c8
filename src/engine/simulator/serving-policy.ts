import type { StepPlan } from "../scheduler.ts";

/** Totals of what a policy did; 0 for what it does not know. */
export interface ServingTotals {
  readonly numPreemptions: number;
  /** Tokens given up by preemption, to be computed again. */
  readonly numLostTokens: number;
  readonly numSwappedBlocks: number;
  /** Prompt tokens looked up in the prefix cache, and those that it had. */
  readonly numQueriedTokens: number;
  readonly numHitTokens: number;
}

/**
 * Who runs when, and with which share of the KV cache: all that a simulated engine asks of one. The real scheduler
 * stands behind it (`PagedServing`), and beside it the ways of serving that it is measured against.
 */
export interface ServingPolicy {
  readonly numRunning: number;
  readonly numWaiting: number;
  /** Tokens of the KV cache that no other sequence could get now. */
  readonly numHeldTokens: number;
  readonly totals: ServingTotals;
  /** When an empty plan may become a full one without another arrival; Infinity for never. */
  readonly wakeMs: number;
  /** A new sequence waits. It is known to fit into the empty cache. */
  add(row: number, nowMs: number): void;
  /**
   * Plans one step; empty when nothing is to be done now. The plan is valid until the next call.
   *
   * @param nextArrivalMs when the next request comes; Infinity when none comes any more
   */
  schedule(nowMs: number, nextArrivalMs: number): StepPlan;
  /** KV blocks moved to or from the host tier by the plan; asked once for each step. */
  takeMoves(): number;
  commit(plan: StepPlan): void;
  /** Ends a sequence, waiting or running, and gives its row back. */
  remove(row: number): void;
}
