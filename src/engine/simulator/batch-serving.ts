import type { StepPlan } from "../scheduler.ts";
import { ContiguousCache } from "./contiguous-cache.ts";
import { clearPlan, commitPlan, createPlan, planRow } from "./row-plan.ts";
import { type BaselineParts, noTotals, type ServingPolicy, type ServingTotals } from "./serving-policy.ts";

/**
 * Serving batch by batch, as before continuous batching: a batch is formed of those that wait, its prompts are computed,
 * then all draw together until the longest answer ends; only then the next batch starts. KV is contiguous and held
 * to the end of the batch. Tokens are streamed, and a sequence that has ended costs no more work: both are better
 * than such servers mostly were, so what the comparison shows is the waiting alone.
 *
 * A batch is formed when `maxNumSeqs` requests wait, or as many as the KV cache holds, or when no more come; with a
 * timeout (dynamic batching) also when the first of them has waited so long. Static batching has none.
 */
export class BatchServing implements ServingPolicy {
  readonly totals: ServingTotals = noTotals;
  wakeMs: number = Number.POSITIVE_INFINITY;
  readonly #parts: BaselineParts;
  readonly #timeoutMs: number;
  readonly #cache: ContiguousCache;
  readonly #plan: StepPlan;
  /** [rows] when each came. */
  readonly #sinceMs: Float64Array;
  /** All rows of the batch; those that have ended stay listed, as −1, until the last one ends. */
  readonly #batch: number[] = [];
  #numRunning = 0;
  #numHeld = 0;
  #numWaitingTokens = 0;

  /** @param timeoutMs Infinity for static batching */
  constructor(parts: BaselineParts, timeoutMs: number) {
    this.#parts = parts;
    this.#timeoutMs = timeoutMs;
    this.#cache = new ContiguousCache(parts.numCacheTokens, parts.table);
    this.#plan = createPlan(parts.limits);
    this.#sinceMs = new Float64Array(parts.table.capacity);
  }

  get numRunning(): number {
    return this.#numRunning;
  }

  get numWaiting(): number {
    return this.#parts.queue.numWaiting;
  }

  get numHeldTokens(): number {
    return this.#numHeld;
  }

  add(row: number, nowMs: number): void {
    this.#sinceMs[row] = nowMs;
    this.#numWaitingTokens += this.#cache.needOf(row);
    this.#parts.queue.enqueue(row);
  }

  schedule(nowMs: number, nextArrivalMs: number): StepPlan {
    clearPlan(this.#plan);
    this.wakeMs = Number.POSITIVE_INFINITY;
    if (this.#numRunning === 0) this.#formBatch(nowMs, nextArrivalMs);
    this.#planPrompts();
    if (this.#plan.numSeqs === 0) this.#planDraws();
    return this.#plan;
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
    const at = this.#batch.indexOf(row);
    if (at === -1) {
      this.#parts.queue.remove(row);
      this.#numWaitingTokens -= this.#cache.needOf(row);
    } else {
      this.#batch[at] = -1;
      this.#numRunning -= 1;
      if (this.#numRunning === 0) this.#endBatch();
    }
    this.#cache.release(row);
    this.#parts.table.close(row);
  }

  #formBatch(nowMs: number, nextArrivalMs: number): void {
    const { queue, limits } = this.#parts;
    const first = queue.peek();
    if (first === -1) return;
    const isFull = queue.numWaiting >= limits.maxNumSeqs || this.#numWaitingTokens >= this.#cache.numTokens;
    const dueMs = this.#sinceMs[first]! + this.#timeoutMs;
    if (!isFull && nowMs < dueMs && nextArrivalMs < Number.POSITIVE_INFINITY) {
      this.wakeMs = dueMs;
      return;
    }
    while (this.#batch.length < limits.maxNumSeqs) {
      const row = queue.peek();
      if (row === -1 || !this.#cache.tryReserve(row)) break;
      queue.remove(row);
      this.#numWaitingTokens -= this.#cache.needOf(row);
      this.#batch.push(row);
    }
    this.#numRunning = this.#batch.length;
    this.#numHeld = this.#cache.numHeld;
  }

  /** The prompts of the batch come first, all of them. */
  #planPrompts(): void {
    const { table, limits } = this.#parts;
    for (const row of this.#batch)
      if (row !== -1 && table.numComputed[row]! < table.numPromptTokens[row]!)
        planRow(this.#plan, row, table, limits);
  }

  #planDraws(): void {
    for (const row of this.#batch)
      if (row !== -1) planRow(this.#plan, row, this.#parts.table, this.#parts.limits);
  }

  #endBatch(): void {
    this.#batch.length = 0;
    this.#numHeld = 0;
  }
}
