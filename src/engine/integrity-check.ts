import type { KvManager } from "./kv-manager.ts";

/** Blocks that one check walks: together well below 0.1 ms. */
const blocksPerCheck = 256;

/**
 * Looks after the books of the KV cache whenever the engine goes idle, at a cost that does not grow with the cache. All
 * counts are checked each time; of the entries by block a slice, the next one each time, so that a wrong entry is found
 * after at most numBlocks / 256 idle moments. Tests walk everything (`KvManager.check`).
 */
export class IntegrityCheck {
  readonly #kv: Pick<KvManager, "checkIdle">;
  readonly #numBlocks: number;
  #next = 0;

  constructor(kv: Pick<KvManager, "checkIdle">, numBlocks: number) {
    this.#kv = kv;
    this.#numBlocks = numBlocks;
  }

  /** Throws an internal fault where the books are wrong. */
  checkIdle(): void {
    const count = Math.min(blocksPerCheck, this.#numBlocks - this.#next);
    this.#kv.checkIdle(this.#next, count);
    this.#next = (this.#next + count) % this.#numBlocks;
  }
}
