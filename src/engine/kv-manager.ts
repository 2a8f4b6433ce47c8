import { invariant } from "../base/invariant.ts";
import type { BlockPool } from "./block-pool.ts";
import type { EngineCounters } from "./engine-stats.ts";
import type { HostTier } from "./host-tier.ts";
import { KvMoveList } from "./kv-move-list.ts";
import type { PrefixCache } from "./prefix-cache.ts";
import type { PrefixExtras } from "./prefix-index.ts";
import type { SequenceTable } from "./sequence-table.ts";

/** What it takes to bring back what a preempted sequence loses, in seconds: measured by the engine, fixed in tests. */
export interface PreemptionCosts {
  recompute(numTokens: number): number;
  /** Out and in again. */
  swap(numBlocks: number): number;
}

export interface KvManagerParts {
  readonly table: SequenceTable;
  readonly pool: BlockPool;
  readonly prefixes: PrefixCache;
  readonly host: HostTier;
  readonly costs: PreemptionCosts;
  readonly counters: EngineCounters;
}

/**
 * Decides which blocks of the KV cache a sequence holds: those that it finds computed already, those that it computes,
 * and those that it gives up when others need room. Content moves only by the list of `moves`, which is carried out
 * at the start of the next step, before anything is computed; since it is in order, a block may be given to another
 * sequence right after its content was listed to be copied.
 */
export class KvManager {
  readonly moves: KvMoveList = new KvMoveList();
  readonly prefixes: PrefixCache;
  readonly #table: SequenceTable;
  readonly #pool: BlockPool;
  readonly #host: HostTier;
  readonly #costs: PreemptionCosts;
  readonly #counters: EngineCounters;
  /** Rows that were preempted and still hold blocks, longest ago first. */
  readonly #holders: number[] = [];

  constructor(parts: KvManagerParts) {
    this.#table = parts.table;
    this.#pool = parts.pool;
    this.prefixes = parts.prefixes;
    this.#host = parts.host;
    this.#costs = parts.costs;
    this.#counters = parts.counters;
  }

  get numFree(): number {
    return this.#pool.numFree;
  }

  /** See `BlockPool.numUses`. */
  get numBlockUses(): Uint32Array {
    return this.#pool.numUses;
  }

  /** Rows whose content lies in the host tier, in part or whole. */
  get numSwappedRows(): number {
    return this.#host.numRows;
  }

  /** A new sequence, with nothing computed. Only sequences with equal extras share. */
  admit(row: number, extras: PrefixExtras): void {
    this.prefixes.open(row, extras);
  }

  /**
   * Gives a waiting sequence the blocks of all its known tokens: its own from the host tier, those that the cache
   * knows, and fresh ones. Leaves at least `reserve` blocks free, or takes nothing and returns false.
   */
  tryPlace(row: number, reserve: number): boolean {
    const isPlaced =
      this.#host.numBlocks(row) > 0 ? this.#swapIn(row, reserve) : this.#placeByHits(row, reserve);
    if (!isPlaced) return false;
    this.#forgetHolder(row);
    this.prefixes.announce(row);
    return true;
  }

  /** Gives a running sequence blocks for `numTokens` tokens; false when there are none, not even of preempted ones. */
  grow(row: number, numTokens: number): boolean {
    const needed = this.#table.blocksFor(numTokens) - this.#table.numBlocks[row]!;
    if (needed <= 0) return true;
    if (needed > this.#pool.numFree && !this.reclaim(needed, row)) return false;
    this.#takeFresh(row, needed);
    return true;
  }

  /** As `grow`, but only from blocks that are free and that no running sequence is likely to need next. */
  growFromFree(row: number, numTokens: number): boolean {
    const needed = this.#table.blocksFor(numTokens) - this.#table.numBlocks[row]!;
    if (needed > 0 && needed > this.#pool.numFree / 2) return false;
    return this.grow(row, numTokens);
  }

  /** Takes blocks from preempted sequences, other than `except`, until `numFree` are free; false when it fell short. */
  reclaim(numFree: number, except: number): boolean {
    for (let at = 0; at < this.#holders.length && this.#pool.numFree < numFree; ) {
      const holder = this.#holders[at]!;
      if (holder === except) at += 1;
      else {
        this.#giveUpTail(holder, numFree);
        if (this.#table.numBlocks[holder]! === 0) this.#holders.splice(at, 1);
        else at += 1;
      }
    }
    return this.#pool.numFree >= numFree;
  }

  /** Takes tail blocks from a running sequence until `numFree` are free, or it has none. It waits from now on. */
  preempt(row: number, numFree: number): void {
    this.prefixes.withdraw(row);
    this.#giveUpTail(row, numFree);
    if (this.#table.numBlocks[row]! > 0) this.#holders.push(row);
  }

  /** Ends a sequence: it gives everything back, tail first, so that a prefix outlives what follows it. */
  release(row: number): void {
    const table = this.#table;
    const { isSharing } = this.prefixes;
    this.prefixes.withdraw(row);
    this.#forgetHolder(row);
    this.#host.release(row);
    const known = Math.min(
      table.numComputed[row]!,
      table.numTokens[row]!,
      table.numBlocks[row]! * table.blockSize,
    );
    if (isSharing) this.prefixes.publishTail(row, known);
    const blocks = table.blockTable(row);
    for (let index = table.numBlocks[row]! - 1; index >= 0; index -= 1) {
      if (!isSharing && this.#pool.refCount(blocks[index]!) === 1) this.prefixes.forget(blocks[index]!);
      this.#releaseBlock(blocks[index]!);
    }
    table.numBlocks[row] = 0;
    this.prefixes.close(row);
  }

  /** Forgets all content that could be hit. Sequences that run keep their blocks. */
  reset(): void {
    for (let block = 0; block < this.#pool.numBlocks; block += 1) this.prefixes.forget(block);
  }

  /** The content of a row's own blocks is not to be trusted: its step failed. */
  distrust(row: number): void {
    const blocks = this.#table.blockTable(row);
    for (let index = 0; index < this.#table.numBlocks[row]!; index += 1) {
      if (this.#pool.refCount(blocks[index]!) === 1) this.prefixes.forget(blocks[index]!);
    }
    this.#table.numComputed[row] = 0;
  }

  /** A step failed, and with it perhaps the moves to the host tier: what is kept there is computed again. */
  distrustHost(): void {
    const { numComputed, numBlocks, blockSize } = this.#table;
    for (const row of this.#host.rows()) {
      numComputed[row] = Math.min(numComputed[row]!, numBlocks[row]! * blockSize);
      this.#host.release(row);
    }
    this.moves.clear();
  }

  /** Walks everything; linear in the number of blocks. For tests. */
  check(): void {
    this.#pool.check();
    this.prefixes.check();
    this.#host.check();
    for (const row of this.#holders) invariant(this.#table.numBlocks[row]! > 0, `row ${row} holds nothing`);
    const numHolders = new Int32Array(this.#pool.numBlocks);
    for (let row = 0; row < this.#table.capacity; row += 1) {
      const blocks = this.#table.blockTable(row);
      for (let index = 0; index < this.#table.numBlocks[row]!; index += 1) numHolders[blocks[index]!]! += 1;
    }
    for (const [block, count] of numHolders.entries())
      invariant(
        this.#pool.refCount(block) === count,
        `block ${block} has ${count} holders, ${this.#pool.refCount(block)} counted`,
      );
  }

  /**
   * What must hold while no sequence is open: by the counts, all is given back and no index has entries too many; and
   * the entries of `count` blocks from `first` on agree with each other. Linear in `count` only.
   */
  checkIdle(first: number, count: number): void {
    invariant(this.#pool.numFree === this.#pool.numBlocks, "idle, but blocks are held");
    const numKept = this.prefixes.numPending + this.#holders.length + this.#host.numRows;
    invariant(numKept === 0, "idle, but something is kept for sequences");
    this.#host.check();
    this.prefixes.checkCounts();
    for (let block = first; block < first + count; block += 1) {
      this.#pool.checkFree(block);
      this.prefixes.checkBlock(block);
    }
  }

  #swapIn(row: number, reserve: number): boolean {
    const needed = this.#table.blocksFor(this.#table.numTarget[row]!) - this.#table.numBlocks[row]!;
    if (needed + reserve > this.#pool.numFree) return false;
    const first = this.#table.numBlocks[row]!;
    this.#takeFresh(row, needed);
    this.#host.bringBack(row, this.#table.blockTable(row), first, this.moves);
    return true;
  }

  #placeByHits(row: number, reserve: number): boolean {
    const table = this.#table;
    const prefixes = this.prefixes;
    const { blockSize } = table;
    const needed = table.blocksFor(table.numTarget[row]!);
    const held = table.numBlocks[row]!;
    const limit = table.numSkippable[row]!;
    const blocks = table.reserveBlocks(row, needed);
    let end = held;
    let numIdle = 0;
    // A row that kept blocks whose tokens are not all computed goes on from where it was.
    const mayHit = prefixes.isHitting && table.numComputed[row] === held * blockSize;
    for (; mayHit && (end + 1) * blockSize <= limit; end += 1) {
      const block = prefixes.findFull(row, end);
      if (block === -1) break;
      blocks[end] = block;
      if (this.#pool.refCount(block) === 0) numIdle += 1;
    }
    if (needed - end + numIdle + reserve > this.#pool.numFree) return false;
    for (let index = held; index < end; index += 1) this.#pool.retain(blocks[index]!);
    table.numBlocks[row] = end;
    const source = mayHit ? prefixes.findPartial(row, end, limit) : -1;
    if (source !== -1) this.#pool.touch(source);
    this.#takeFresh(row, needed - end);
    if (mayHit) {
      table.numComputed[row] = end * blockSize;
      prefixes.setPublished(row, end);
    }
    if (source !== -1) {
      this.moves.copy(source, blocks[end]!, prefixes.numMatched);
      table.numComputed[row]! += prefixes.numMatched;
    }
    prefixes.countHit(row, limit);
    return true;
  }

  #takeFresh(row: number, count: number): void {
    const held = this.#table.numBlocks[row]!;
    const blocks = this.#table.reserveBlocks(row, held + count);
    for (let index = held; index < held + count; index += 1) {
      const block = this.#pool.take();
      invariant(block !== -1, "blocks vanished between count and allocation");
      this.prefixes.forget(block);
      blocks[index] = block;
    }
    this.#table.numBlocks[row] = held + count;
  }

  /** Gives up blocks from the tail until `numFree` are free: swapped out where that is cheaper than computing again. */
  #giveUpTail(row: number, numFree: number): void {
    const table = this.#table;
    const { blockSize } = table;
    const blocks = table.blockTable(row);
    const held = table.numBlocks[row]!;
    let kept = held;
    let freed = 0;
    while (kept > 0 && this.#pool.numFree + freed < numFree) {
      kept -= 1;
      if (this.#pool.refCount(blocks[kept]!) === 1) freed += 1;
    }
    const used = Math.min(held, table.blocksFor(table.numComputed[row]!));
    const numLost = Math.max(0, table.numComputed[row]! - kept * blockSize);
    const isSwapped = this.#swapOut(row, kept, used, numLost);
    if (!isSwapped && numLost > 0) {
      this.prefixes.publishTail(row, Math.min(table.numComputed[row]!, held * blockSize));
      table.numComputed[row] = kept * blockSize;
      this.#counters.add("numRecomputedTokens", numLost);
      table.traces.countRecompute(row, numLost);
    }
    for (let index = held - 1; index >= kept; index -= 1) this.#releaseBlock(blocks[index]!);
    table.numBlocks[row] = kept;
    this.prefixes.truncate(row, kept);
  }

  /** Lists blocks[kept … used) to be saved; false when computing them again is cheaper or the tier has no room. */
  #swapOut(row: number, kept: number, used: number, numLost: number): boolean {
    const count = used - kept;
    const isWorth = count > 0 && this.#costs.swap(count) < this.#costs.recompute(numLost);
    if (!isWorth || !this.#host.save(row, this.#table.blockTable(row), kept, count, this.moves)) {
      // What lies behind a gap is of no use.
      if (numLost > 0) this.#host.release(row);
      return false;
    }
    this.#counters.add("numSwappedBlocks", count);
    this.#table.traces.countSwap(row, count);
    return true;
  }

  #releaseBlock(block: number): void {
    this.#pool.release(block, this.prefixes.isKnown(block));
  }

  #forgetHolder(row: number): void {
    const at = this.#holders.indexOf(row);
    if (at !== -1) this.#holders.splice(at, 1);
  }
}
