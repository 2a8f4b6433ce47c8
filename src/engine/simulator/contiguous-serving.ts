import { BaselineServing } from "./baseline-serving.ts";

/**
 * Continuous batching over contiguous KV: a sequence joins at any step at which its whole reservation fits, and leaves
 * when it ends. Nothing is preempted and nothing shared.
 */
export class ContiguousServing extends BaselineServing {
  readonly #running: number[] = [];

  get numRunning(): number {
    return this.#running.length;
  }

  get numHeldTokens(): number {
    return this.cache.numHeld;
  }

  protected fillPlan(): void {
    const { limits, queue, plan } = this;
    for (const row of this.#running) this.planRow(row);
    while (this.#running.length < limits.maxNumSeqs && plan.numTokens < limits.maxNumBatchedTokens) {
      const row = queue.peek();
      if (row === -1 || !this.cache.tryReserve(row)) break;
      queue.remove(row);
      this.#running.push(row);
      this.planRow(row);
    }
  }

  protected leave(row: number): boolean {
    const at = this.#running.indexOf(row);
    if (at === -1) return false;
    this.#running.splice(at, 1);
    return true;
  }
}
