import type { PrefixExtras, PrefixIndex } from "./prefix-index.ts";
import type { SequenceTable } from "./sequence-table.ts";

/**
 * The keys of each row's full blocks, and which of them a running row is about to compute: others that need the same
 * blocks wait for them instead of computing them too.
 */
export class PrefixChains {
  readonly #table: SequenceTable;
  readonly #index: PrefixIndex;
  /** By row: root key, then the keys of its full blocks as far as they were needed. */
  readonly #keys: string[][];
  /** By row: the first block that was missing when it was last asked for; the next question goes on from there. */
  readonly #firstMissing: Int32Array;
  /** Keys of announced blocks, and the row that will compute them. */
  readonly #pending = new Map<string, number>();

  constructor(table: SequenceTable, index: PrefixIndex) {
    this.#table = table;
    this.#index = index;
    this.#keys = Array.from({ length: table.capacity }, () => []);
    this.#firstMissing = new Int32Array(table.capacity);
  }

  /** Blocks that are announced and not yet computed. */
  get numPending(): number {
    return this.#pending.size;
  }

  open(row: number, extras: PrefixExtras): void {
    this.#keys[row] = [this.#index.rootKey(extras)];
    this.#firstMissing[row] = 0;
  }

  close(row: number): void {
    this.#keys[row] = [];
  }

  /** Key of the row's full block `index`; −1 is the root. */
  keyOf(row: number, index: number): string {
    const keys = this.#keys[row]!;
    const ids = this.#table.tokenIds(row);
    while (keys.length <= index + 1)
      keys.push(this.#index.childKey(keys.at(-1)!, ids, (keys.length - 1) * this.#table.blockSize));
    return keys[index + 1]!;
  }

  /**
   * Whether another row is just computing the first block that this one would have to compute. Asked in each step for
   * each row that waits, so a row looks at each block once. One that is gone again by the time it starts is computed.
   */
  mustWait(row: number): boolean {
    if (this.#pending.size === 0) return false;
    const { blockSize, numSkippable, numBlocks } = this.#table;
    const ids = this.#table.tokenIds(row);
    let index = Math.max(numBlocks[row]!, this.#firstMissing[row]!);
    for (; (index + 1) * blockSize <= numSkippable[row]!; index += 1) {
      const key = this.keyOf(row, index);
      if (this.#index.find(key, ids, index * blockSize) !== -1) continue;
      this.#firstMissing[row] = index;
      return (this.#pending.get(key) ?? row) !== row;
    }
    return false;
  }

  /** This row computes its missing full blocks from now on. */
  announce(row: number): void {
    const { blockSize, numComputed, numTokens } = this.#table;
    const first = Math.floor(numComputed[row]! / blockSize);
    for (let index = first; (index + 1) * blockSize <= numTokens[row]!; index += 1) {
      const key = this.keyOf(row, index);
      if (!this.#pending.has(key)) this.#pending.set(key, row);
    }
  }

  /** The block under a key is computed: nobody waits for this row's any more. */
  settle(row: number, key: string): void {
    if (this.#pending.get(key) === row) this.#pending.delete(key);
  }

  /** Nobody waits any more for what this row has not computed of its blocks from `first` on. */
  withdraw(row: number, first: number): void {
    this.#firstMissing[row] = 0;
    if (this.#pending.size === 0) return;
    const keys = this.#keys[row]!;
    for (let index = first + 1; index < keys.length; index += 1) this.settle(row, keys[index]!);
  }
}
