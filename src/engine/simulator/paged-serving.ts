import { kvMoveKinds } from "../../kernels/ops.ts";
import type { EngineCounters } from "../engine-stats.ts";
import type { KvManager } from "../kv-manager.ts";
import type { Scheduler, StepPlan } from "../scheduler.ts";
import type { ServingPolicy, ServingTotals } from "./serving-policy.ts";

interface PagedServingParts {
  readonly scheduler: Scheduler;
  readonly kv: KvManager;
  /** Those of scheduler and KV manager. */
  readonly counters: EngineCounters;
  readonly numBlocks: number;
  readonly blockSize: number;
}

/** The engine's own scheduler and KV manager: continuous batching, paged KV, prefix cache, preemption. */
export class PagedServing implements ServingPolicy {
  readonly wakeMs: number = Number.POSITIVE_INFINITY;
  readonly #scheduler: Scheduler;
  readonly #kv: KvManager;
  readonly #counters: EngineCounters;
  readonly #numBlocks: number;
  readonly #blockSize: number;

  constructor(parts: PagedServingParts) {
    this.#scheduler = parts.scheduler;
    this.#kv = parts.kv;
    this.#counters = parts.counters;
    this.#numBlocks = parts.numBlocks;
    this.#blockSize = parts.blockSize;
  }

  get numRunning(): number {
    return this.#scheduler.numRunning;
  }

  get numWaiting(): number {
    return this.#scheduler.numWaiting;
  }

  get numHeldTokens(): number {
    return (this.#numBlocks - this.#kv.numFree) * this.#blockSize;
  }

  get totals(): ServingTotals {
    const counters = this.#counters;
    return {
      numPreemptions: counters.get("numPreemptions"),
      numLostTokens: counters.get("numRecomputedTokens"),
      numSwappedBlocks: counters.get("numSwappedBlocks"),
      numQueriedTokens: counters.get("prefixCacheQueries"),
      numHitTokens: counters.get("prefixCacheHits"),
    };
  }

  add(row: number): void {
    this.#kv.admit(row, {});
    this.#scheduler.add(row);
  }

  schedule(): StepPlan {
    return this.#scheduler.schedule();
  }

  takeMoves(): number {
    const { moves } = this.#kv;
    let numBlocks = 0;
    for (let index = 0; index < moves.count; index += 1)
      if (moves.kinds[index] !== kvMoveKinds.copy) numBlocks += 1;
    moves.clear();
    return numBlocks;
  }

  commit(plan: StepPlan): void {
    this.#scheduler.commit(plan);
  }

  remove(row: number): void {
    this.#scheduler.remove(row);
  }

  /** Walks the books; linear in the number of blocks. */
  check(): void {
    this.#kv.check();
  }
}
