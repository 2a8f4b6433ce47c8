import type { PreemptionCosts } from "./kv-manager.ts";

/** Bytes a second at which one thread copies memory that is not in its caches: a low figure for server CPUs. */
const copyBytesPerSecond = 4e9;
/** Until a step was measured: the speed at which prompts are computed by a model of a billion parameters. */
const assumedTokensPerSecond = 300;
/** Steps with fewer tokens say how fast decoding is, not how fast lost tokens would be computed again. */
const minPrefillTokens = 32;
const newShare = 0.2;

/** Estimates from the steps so far what a preemption would cost. */
export class StepCosts implements PreemptionCosts {
  readonly #secondsPerBlock: number;
  #secondsPerToken = 1 / assumedTokensPerSecond;

  /** @param blockBytes K and V of all layers of one block */
  constructor(blockBytes: number) {
    this.#secondsPerBlock = (2 * blockBytes) / copyBytesPerSecond;
  }

  observeStep(numTokens: number, seconds: number): void {
    if (numTokens < minPrefillTokens) return;
    this.#secondsPerToken += newShare * (seconds / numTokens - this.#secondsPerToken);
  }

  recompute(numTokens: number): number {
    return numTokens * this.#secondsPerToken;
  }

  swap(numBlocks: number): number {
    return numBlocks * this.#secondsPerBlock;
  }
}
