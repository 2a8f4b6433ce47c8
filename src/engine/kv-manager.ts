import { invariant } from "../base/invariant.ts";
import type { BlockPool } from "./block-pool.ts";
import type { HostTier } from "./host-tier.ts";
import { KvMoveList } from "./kv-move-list.ts";
import { PrefixChains } from "./prefix-chains.ts";
import type { PrefixExtras, PrefixIndex } from "./prefix-index.ts";
import type { SequenceTable } from "./sequence-table.ts";

/** What it takes to bring back what a preempted sequence loses, in seconds: measured by the engine, fixed in tests. */
export interface PreemptionCosts {
  recompute(numTokens: number): number;
  /** Out and in again. */
  swap(numBlocks: number): number;
}

/** Why a request's prefix hit ended where it did. */
export const hitEnds = {
  /** Everything but what has to be computed came from the cache. */
  complete: 0,
  /** Other texts with this prefix are known, none goes on like this one. */
  diverged: 1,
  /** Nothing is known beyond the hit: never computed, or its blocks have been reused. */
  unknown: 2,
} as const;

export interface KvManagerParts {
  readonly table: SequenceTable;
  readonly pool: BlockPool;
  readonly index: PrefixIndex;
  readonly host: HostTier;
  readonly costs: PreemptionCosts;
  /** False: no request uses what another computed. */
  readonly isSharing: boolean;
  /** Computes hits anew and compares; `compare` says whether two blocks hold the same bytes. */
  readonly compare?: (blockA: number, blockB: number) => boolean;
}

/**
 * Decides which blocks of the KV cache a sequence holds: those that it finds computed already, those that it computes,
 * and those that it gives up when others need room. Content moves only by the list of `moves`, which is carried out
 * at the start of the next step, before anything is computed; since it is in order, a block may be given to another
 * sequence right after its content was listed to be copied.
 */
export class KvManager {
  readonly moves: KvMoveList;
  /** How far and why a row's hit went, see `hitEnds`. */
  readonly hitEnds: Uint8Array;
  numQueriedTokens = 0;
  numHitTokens = 0;
  numSwappedBlocks = 0;
  numLostTokens = 0;
  /** Blocks that were computed twice with different results: must stay 0. */
  numMismatches = 0;
  readonly #parts: KvManagerParts;
  readonly #table: SequenceTable;
  readonly #pool: BlockPool;
  readonly #index: PrefixIndex;
  readonly #host: HostTier;
  readonly #chains: PrefixChains;
  readonly #numPublished: Int32Array;
  /** Rows that were preempted and still hold blocks, longest ago first. */
  readonly #holders: number[] = [];

  constructor(parts: KvManagerParts) {
    const { table } = parts;
    this.#parts = parts;
    this.#table = table;
    this.#pool = parts.pool;
    this.#index = parts.index;
    this.#host = parts.host;
    this.moves = new KvMoveList();
    this.hitEnds = new Uint8Array(table.capacity);
    this.#chains = new PrefixChains(table, parts.index);
    this.#numPublished = new Int32Array(table.capacity);
  }

  get numFree(): number {
    return this.#pool.numFree;
  }

  /** Rows whose content lies in the host tier, in part or whole. */
  get numSwappedRows(): number {
    return this.#host.numRows;
  }

  /** A new sequence, with nothing computed. Only sequences with equal extras share. */
  admit(row: number, extras: PrefixExtras): void {
    const own = this.#parts.isSharing ? extras : { ...extras, request: String(this.#table.handles[row]) };
    this.#chains.open(row, own);
    this.#numPublished[row] = 0;
    this.hitEnds[row] = hitEnds.unknown;
  }

  /** Whether another sequence is just computing what this one needs next: then it is cheaper to wait. */
  mustWait(row: number): boolean {
    return this.#chains.mustWait(row);
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
    this.#announce(row);
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
    this.#chains.withdraw(row, this.#numPublished[row]!);
    this.#giveUpTail(row, numFree);
    if (this.#table.numBlocks[row]! > 0) this.#holders.push(row);
  }

  /** Makes the blocks known that have become full, once their tokens are computed. */
  publish(row: number): void {
    const { blockSize, numComputed, numTokens, numPromptTokens } = this.#table;
    const known = Math.min(numComputed[row]!, numTokens[row]!);
    let block = this.#numPublished[row]!;
    for (; (block + 1) * blockSize <= known; block += 1) this.#publishFull(row, block);
    this.#numPublished[row] = block;
    // The prompt's last, partial block serves others that begin alike while this one goes on.
    if (known === numPromptTokens[row]) this.#publishTail(row, known);
  }

  /** Ends a sequence: it gives everything back, tail first, so that a prefix outlives what follows it. */
  release(row: number): void {
    const table = this.#table;
    this.#chains.withdraw(row, this.#numPublished[row]!);
    this.#forgetHolder(row);
    this.#host.release(row);
    const known = Math.min(
      table.numComputed[row]!,
      table.numTokens[row]!,
      table.numBlocks[row]! * table.blockSize,
    );
    if (this.#parts.isSharing) this.#publishTail(row, known);
    const blocks = table.blockTable(row);
    for (let index = table.numBlocks[row]! - 1; index >= 0; index -= 1) {
      if (!this.#parts.isSharing && this.#pool.refCount(blocks[index]!) === 1)
        this.#index.remove(blocks[index]!);
      this.#releaseBlock(blocks[index]!);
    }
    table.numBlocks[row] = 0;
    this.#chains.close(row);
  }

  /** Forgets all content that could be hit. Sequences that run keep their blocks. */
  reset(): void {
    for (let block = 0; block < this.#pool.numBlocks; block += 1) this.#index.remove(block);
  }

  /** The content of a row's own blocks is not to be trusted: its step failed. */
  distrust(row: number): void {
    const blocks = this.#table.blockTable(row);
    for (let index = 0; index < this.#table.numBlocks[row]!; index += 1) {
      if (this.#pool.refCount(blocks[index]!) === 1) this.#index.remove(blocks[index]!);
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

  check(): void {
    this.#pool.check();
    this.#index.check();
    this.#host.check();
    for (const row of this.#holders) invariant(this.#table.numBlocks[row]! > 0, `row ${row} holds nothing`);
  }

  get isIdle(): boolean {
    return this.#chains.numPending + this.#holders.length + this.#host.numRows === 0;
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
    const { blockSize } = table;
    const ids = table.tokenIds(row);
    const needed = table.blocksFor(table.numTarget[row]!);
    const held = table.numBlocks[row]!;
    const limit = this.#table.numSkippable[row]!;
    const blocks = table.reserveBlocks(row, needed);
    let end = held;
    let numIdle = 0;
    // A row that kept blocks whose tokens are not all computed goes on from where it was.
    const mayHit = this.#parts.compare === undefined && table.numComputed[row] === held * blockSize;
    for (; mayHit && (end + 1) * blockSize <= limit; end += 1) {
      const block = this.#index.find(this.#chains.keyOf(row, end), ids, end * blockSize);
      if (block === -1) break;
      blocks[end] = block;
      if (this.#pool.refCount(block) === 0) numIdle += 1;
    }
    if (needed - end + numIdle + reserve > this.#pool.numFree) return false;
    for (let index = held; index < end; index += 1) this.#pool.retain(blocks[index]!);
    table.numBlocks[row] = end;
    const source = mayHit ? this.#findPartial(row, end, limit) : -1;
    this.#takeFresh(row, needed - end);
    if (mayHit) {
      table.numComputed[row] = end * blockSize;
      this.#numPublished[row] = end;
    }
    if (source !== -1) this.#copyPartial(row, end, source);
    this.#countHit(row, limit);
    return true;
  }

  #findPartial(row: number, block: number, limit: number): number {
    const start = block * this.#table.blockSize;
    const end = Math.min(limit, start + this.#table.blockSize);
    if (end <= start) return -1;
    return this.#index.findPartial(this.#chains.keyOf(row, block - 1), this.#table.tokenIds(row), start, end);
  }

  #copyPartial(row: number, index: number, source: number): void {
    const numTokens = this.#index.matchedTokens;
    this.moves.copy(source, this.#table.blockTable(row)[index]!, numTokens);
    this.#table.numComputed[row] = index * this.#table.blockSize + numTokens;
  }

  #countHit(row: number, limit: number): void {
    const table = this.#table;
    if (table.isStarted[row] === 1) return;
    table.isStarted[row] = 1;
    const hit = table.numComputed[row]!;
    table.numCached[row] = hit;
    table.numServed[row] = hit;
    this.numQueriedTokens += table.numPromptTokens[row]!;
    this.numHitTokens += hit;
    const parent = this.#chains.keyOf(row, Math.floor(hit / table.blockSize) - 1);
    if (hit === limit) this.hitEnds[row] = hitEnds.complete;
    else this.hitEnds[row] = this.#index.hasChild(parent) ? hitEnds.diverged : hitEnds.unknown;
  }

  #takeFresh(row: number, count: number): void {
    const held = this.#table.numBlocks[row]!;
    const blocks = this.#table.reserveBlocks(row, held + count);
    for (let index = held; index < held + count; index += 1) {
      const block = this.#pool.take();
      invariant(block !== -1, "blocks vanished between count and allocation");
      this.#index.remove(block);
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
      this.#publishTail(row, Math.min(table.numComputed[row]!, held * blockSize));
      table.numComputed[row] = kept * blockSize;
      this.numLostTokens += numLost;
      table.traces.countRecompute(row, numLost);
    }
    for (let index = held - 1; index >= kept; index -= 1) this.#releaseBlock(blocks[index]!);
    table.numBlocks[row] = kept;
    this.#numPublished[row] = Math.min(this.#numPublished[row]!, kept);
  }

  /** Lists blocks[kept … used) to be saved; false when computing them again is cheaper or the tier has no room. */
  #swapOut(row: number, kept: number, used: number, numLost: number): boolean {
    const count = used - kept;
    const { costs } = this.#parts;
    const isWorth = count > 0 && costs.swap(count) < costs.recompute(numLost);
    if (!isWorth || !this.#host.save(row, this.#table.blockTable(row), kept, count, this.moves)) {
      // What lies behind a gap is of no use.
      if (numLost > 0) this.#host.release(row);
      return false;
    }
    this.numSwappedBlocks += count;
    this.#table.traces.countSwap(row, count);
    return true;
  }

  #releaseBlock(block: number): void {
    this.#pool.release(block, this.#index.numTokens(block) > 0);
  }

  #publishFull(row: number, index: number): void {
    const table = this.#table;
    const key = this.#chains.keyOf(row, index);
    const block = table.blockTable(row)[index]!;
    this.#chains.settle(row, key);
    const isNew = this.#index.addFull(
      block,
      this.#chains.keyOf(row, index - 1),
      key,
      table.tokenIds(row),
      index * table.blockSize,
    );
    if (isNew || this.#parts.compare === undefined) return;
    const known = this.#index.blockOf(key);
    if (known !== block && !this.#parts.compare(known, block)) this.numMismatches += 1;
  }

  /** Enters the block that holds the last of the first `known` tokens, if they do not fill it. */
  #publishTail(row: number, known: number): void {
    const { blockSize } = this.#table;
    const index = Math.floor(known / blockSize);
    const count = known - index * blockSize;
    if (count === 0) return;
    const block = this.#table.blockTable(row)[index]!;
    if (this.#index.numTokens(block) >= count) return;
    const ids = this.#table.tokenIds(row);
    this.#index.addPartial(block, this.#chains.keyOf(row, index - 1), ids, index * blockSize, count);
  }

  /** Others that need the same blocks can wait for this row from now on. */
  #announce(row: number): void {
    if (this.#parts.isSharing && this.#parts.compare === undefined) this.#chains.announce(row);
  }

  #forgetHolder(row: number): void {
    const at = this.#holders.indexOf(row);
    if (at !== -1) this.#holders.splice(at, 1);
  }
}
