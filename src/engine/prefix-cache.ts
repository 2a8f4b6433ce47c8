import type { EngineCounters } from "./engine-stats.ts";
import { PrefixChains } from "./prefix-chains.ts";
import type { PrefixExtras, PrefixIndex } from "./prefix-index.ts";
import { type BlockComparison, PrefixSelfCheck } from "./prefix-self-check.ts";
import type { SequenceTable } from "./sequence-table.ts";

/** Why a request's prefix hit ended where it did. */
export const hitEnds = {
  /** Everything but what has to be computed came from the cache. */
  complete: 0,
  /** Other texts with this prefix are known, none goes on like this one. */
  diverged: 1,
  /** Nothing is known beyond the hit: never computed, or its blocks have been reused. */
  unknown: 2,
} as const;

export interface PrefixCacheParts {
  readonly table: SequenceTable;
  readonly index: PrefixIndex;
  readonly counters: EngineCounters;
  /** False: no request uses what another computed. */
  readonly isSharing: boolean;
  /** Given: what a request could use is computed anew and compared. */
  readonly compare?: BlockComparison;
}

/**
 * What sequences know of each other's content: finds the blocks that one would compute and another has computed, makes
 * those known that a sequence completes, and says who computes just now what another one needs. Which sequence holds a
 * block, and whether it is free, is the affair of others.
 */
export class PrefixCache {
  /** How far and why a row's hit went, see `hitEnds`. */
  readonly hitEnds: Uint8Array;
  readonly isSharing: boolean;
  /** Whether what is known is used: not where it is computed anew to be compared. */
  readonly isHitting: boolean;
  readonly #parts: PrefixCacheParts;
  readonly #table: SequenceTable;
  readonly #index: PrefixIndex;
  readonly #chains: PrefixChains;
  readonly #selfCheck: PrefixSelfCheck | null;
  /** Full blocks of a row that are known. */
  readonly #numPublished: Int32Array;

  constructor(parts: PrefixCacheParts) {
    const { table, index, isSharing, compare } = parts;
    this.hitEnds = new Uint8Array(table.capacity);
    this.isSharing = isSharing;
    this.isHitting = compare === undefined;
    this.#parts = parts;
    this.#table = table;
    this.#index = index;
    this.#chains = new PrefixChains(table, index);
    const chains = this.#chains;
    const { counters } = parts;
    this.#selfCheck =
      compare === undefined ? null : new PrefixSelfCheck({ table, index, chains, counters, compare });
    this.#numPublished = new Int32Array(table.capacity);
  }

  /** Blocks that are announced and not yet computed. */
  get numPending(): number {
    return this.#chains.numPending;
  }

  /** A new sequence. Only those with equal extras share. */
  open(row: number, extras: PrefixExtras): void {
    const own = this.isSharing ? extras : { ...extras, request: String(this.#table.handles[row]) };
    this.#chains.open(row, own);
    this.#numPublished[row] = 0;
    this.hitEnds[row] = hitEnds.unknown;
  }

  close(row: number): void {
    this.#chains.close(row);
  }

  /** Whether another sequence is just computing what this one needs next: then it is cheaper to wait. */
  mustWait(row: number): boolean {
    return this.#chains.mustWait(row);
  }

  /** Others that need the same blocks can wait for this row from now on. */
  announce(row: number): void {
    if (this.isSharing && this.isHitting) this.#chains.announce(row);
  }

  /** Nobody waits any more for what this row has not computed. */
  withdraw(row: number): void {
    this.#chains.withdraw(row, this.#numPublished[row]!);
  }

  /** The block that holds the row's full block `index`, or −1. */
  findFull(row: number, index: number): number {
    const key = this.#chains.keyOf(row, index);
    return this.#index.find(key, this.#table.tokenIds(row), index * this.#table.blockSize);
  }

  /**
   * The block that holds most of the row's tokens of block `index` up to position `limit`, or −1; their number is then
   * in `numMatched`.
   */
  findPartial(row: number, index: number, limit: number): number {
    const start = index * this.#table.blockSize;
    const end = Math.min(limit, start + this.#table.blockSize);
    if (end <= start) return -1;
    return this.#index.findPartial(this.#chains.keyOf(row, index - 1), this.#table.tokenIds(row), start, end);
  }

  /** Tokens that the last `findPartial` matched. */
  get numMatched(): number {
    return this.#index.matchedTokens;
  }

  /** Counts a row's first hit, of `numComputed` tokens where up to `limit` could be had. */
  countHit(row: number, limit: number): void {
    const table = this.#table;
    if (table.isStarted[row] === 1) return;
    table.isStarted[row] = 1;
    const hit = table.numComputed[row]!;
    table.numCached[row] = hit;
    table.numServed[row] = hit;
    this.#parts.counters.add("prefixCacheQueries", table.numPromptTokens[row]!);
    this.#parts.counters.add("prefixCacheHits", hit);
    const parent = this.#chains.keyOf(row, Math.floor(hit / table.blockSize) - 1);
    if (hit === limit) this.hitEnds[row] = hitEnds.complete;
    else this.hitEnds[row] = this.#index.hasChild(parent) ? hitEnds.diverged : hitEnds.unknown;
  }

  /** The row's first `count` blocks are known, and no others. */
  setPublished(row: number, count: number): void {
    this.#numPublished[row] = count;
  }

  /** The row has given up its blocks from `kept` on. */
  truncate(row: number, kept: number): void {
    this.#numPublished[row] = Math.min(this.#numPublished[row]!, kept);
  }

  /** Makes the blocks known that have become full, once their tokens are computed. */
  publish(row: number): void {
    const { blockSize, numComputed, numTokens, numPromptTokens } = this.#table;
    const known = Math.min(numComputed[row]!, numTokens[row]!);
    let block = this.#numPublished[row]!;
    for (; (block + 1) * blockSize <= known; block += 1) this.#publishFull(row, block);
    this.#numPublished[row] = block;
    // The prompt's last, partial block serves others that begin alike while this one goes on.
    if (known === numPromptTokens[row]) this.publishTail(row, known);
  }

  /** Makes the block known that holds the last of the first `known` tokens, if they do not fill it. */
  publishTail(row: number, known: number): void {
    const { blockSize } = this.#table;
    const index = Math.floor(known / blockSize);
    const count = known - index * blockSize;
    if (count === 0) return;
    const block = this.#table.blockTable(row)[index]!;
    if (this.#index.numTokens(block) >= count) return;
    this.#selfCheck?.check(row, index, count);
    const ids = this.#table.tokenIds(row);
    this.#index.addPartial(block, this.#chains.keyOf(row, index - 1), ids, index * blockSize, count);
  }

  isKnown(block: number): boolean {
    return this.#index.numTokens(block) > 0;
  }

  /** The content of a block goes away, or is not to be trusted. */
  forget(block: number): void {
    this.#index.remove(block);
  }

  /** Walks everything; linear in the number of blocks. */
  check(): void {
    this.#index.check();
  }

  checkCounts(): void {
    this.#index.checkCounts();
  }

  checkBlock(block: number): void {
    this.#index.checkBlock(block);
  }

  #publishFull(row: number, index: number): void {
    const table = this.#table;
    const key = this.#chains.keyOf(row, index);
    const block = table.blockTable(row)[index]!;
    this.#chains.settle(row, key);
    this.#selfCheck?.check(row, index, table.blockSize);
    const parent = this.#chains.keyOf(row, index - 1);
    this.#index.addFull(block, parent, key, table.tokenIds(row), index * table.blockSize);
  }
}
