import { type BaselineParts, BaselineServing } from "./baseline-serving.ts";

/**
 * Serving batch by batch, as before continuous batching: a batch is formed of those that wait, its prompts are computed,
 * then all draw together until the longest answer ends; only then the next batch starts. KV is contiguous and held
 * to the end of the batch. Tokens are streamed, and a sequence that has ended costs no more work: both are better
 * than such servers mostly were, so what the comparison shows is the waiting alone.
 *
 * A batch is formed when `maxNumSeqs` requests wait, or as many as the KV cache holds, or when no more come; with a
 * timeout (dynamic batching) also when the first of them has waited so long. Static batching has none.
 */
export class BatchServing extends BaselineServing {
  readonly #timeoutMs: number;
  /** [rows] when each came. */
  readonly #sinceMs: Float64Array;
  /** Rows of the batch that have not ended. */
  readonly #batch: number[] = [];
  #numHeld = 0;
  #numWaitingTokens = 0;

  /** @param timeoutMs Infinity for static batching */
  constructor(parts: BaselineParts, timeoutMs: number) {
    super(parts);
    this.#timeoutMs = timeoutMs;
    this.#sinceMs = new Float64Array(parts.table.capacity);
  }

  get numRunning(): number {
    return this.#batch.length;
  }

  get numHeldTokens(): number {
    return this.#numHeld;
  }

  override add(row: number, nowMs: number): void {
    this.#sinceMs[row] = nowMs;
    this.#numWaitingTokens += this.cache.needOf(row);
    super.add(row, nowMs);
  }

  protected fillPlan(nowMs: number, nextArrivalMs: number): void {
    this.wakeMs = Number.POSITIVE_INFINITY;
    if (this.#batch.length === 0) this.#formBatch(nowMs, nextArrivalMs);
    // The prompts of the batch come first, all of them.
    const { numComputed, numPromptTokens } = this.table;
    for (const row of this.#batch) if (numComputed[row]! < numPromptTokens[row]!) this.planRow(row);
    if (this.plan.numSeqs === 0) for (const row of this.#batch) this.planRow(row);
  }

  protected leave(row: number): boolean {
    const at = this.#batch.indexOf(row);
    if (at === -1) {
      this.#numWaitingTokens -= this.cache.needOf(row);
      return false;
    }
    this.#batch.splice(at, 1);
    if (this.#batch.length === 0) this.#numHeld = 0;
    return true;
  }

  #formBatch(nowMs: number, nextArrivalMs: number): void {
    const { queue, limits, cache } = this;
    const first = queue.peek();
    if (first === -1) return;
    const isFull = queue.numWaiting >= limits.maxNumSeqs || this.#numWaitingTokens >= cache.numTokens;
    const dueMs = this.#sinceMs[first]! + this.#timeoutMs;
    if (!isFull && nowMs < dueMs && nextArrivalMs < Number.POSITIVE_INFINITY) {
      this.wakeMs = dueMs;
      return;
    }
    while (this.#batch.length < limits.maxNumSeqs) {
      const row = queue.peek();
      if (row === -1 || !cache.tryReserve(row)) break;
      queue.remove(row);
      this.#numWaitingTokens -= cache.needOf(row);
      this.#batch.push(row);
    }
    this.#numHeld = cache.numHeld;
  }
}
