import type { PreemptionCosts } from "./kv-manager.ts";
import type { StepTimes } from "./step-times.ts";

/** Bytes a second at which one thread copies memory that is not in its caches: a low figure for server CPUs. */
const copyBytesPerSecond = 4e9;
/** Until a step was measured: the speed at which prompts are computed by a model of a billion parameters. */
const assumedTokensPerSecond = 300;
/** Steps with fewer tokens say how fast decoding is, not how fast lost tokens would be computed again. */
const minPrefillTokens = 32;

/** Estimates from the steps so far what a preemption would cost. */
export class StepCosts implements PreemptionCosts {
  readonly #secondsPerBlock: number;
  readonly #stepTimes: StepTimes;

  /** @param blockBytes K and V of all layers of one block */
  constructor(blockBytes: number, stepTimes: StepTimes) {
    this.#secondsPerBlock = (2 * blockBytes) / copyBytesPerSecond;
    this.#stepTimes = stepTimes;
  }

  recompute(numTokens: number): number {
    const msPerToken = this.#stepTimes.msPerToken(minPrefillTokens);
    return numTokens * (msPerToken === 0 ? 1 / assumedTokensPerSecond : msPerToken / 1000);
  }

  swap(numBlocks: number): number {
    return numBlocks * this.#secondsPerBlock;
  }
}
