import { invariant } from "../base/invariant.ts";

/**
 * Hands out the physical blocks of the KV cache. Invariant: a block is in the free list (reference count 0) or is
 * held by at least one sequence. The free list is intrusive (two links per block, in typed arrays) and doubly
 * linked, so that a block can leave it from the middle. It has two ends: a block whose content nobody can find again
 * goes to the front and is reused first, while its cache lines are warm; one that may be hit goes to the back, so that
 * the one unused for longest is reused first (as vLLM's block pool).
 */
export class BlockPool {
  readonly numBlocks: number;
  /** [numBlocks] how often each was taken, modulo 2^32: what was noted of a block's content holds as long as this stands. */
  readonly numUses: Uint32Array;
  readonly #refCounts: Int32Array;
  /** Links by block; entry `numBlocks` is the sentinel that closes the ring. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #numFree: number;

  constructor(numBlocks: number) {
    invariant(Number.isInteger(numBlocks) && numBlocks > 0, `a pool of ${numBlocks} blocks`);
    this.numBlocks = numBlocks;
    this.numUses = new Uint32Array(numBlocks);
    this.#refCounts = new Int32Array(numBlocks);
    this.#next = new Int32Array(numBlocks + 1);
    this.#previous = new Int32Array(numBlocks + 1);
    for (let link = 0; link <= numBlocks; link += 1) {
      this.#next[link] = link === numBlocks ? 0 : link + 1;
      this.#previous[link] = link === 0 ? numBlocks : link - 1;
    }
    this.#numFree = numBlocks;
  }

  get numFree(): number {
    return this.#numFree;
  }

  refCount(block: number): number {
    return this.#refCounts[block]!;
  }

  /** Takes the first free block, with reference count 1, or −1: running out is not an error here. */
  take(): number {
    if (this.#numFree === 0) return -1;
    const block = this.#next[this.numBlocks]!;
    this.#unlink(block);
    this.#refCounts[block] = 1;
    this.numUses[block]! += 1;
    return block;
  }

  /** One more holder of a block, which leaves the free list if it was there. */
  retain(block: number): void {
    if (this.#refCounts[block] === 0) this.#unlink(block);
    this.#refCounts[block]! += 1;
  }

  /** One holder less. The last one gives the block back: to the back of the list if it may be hit again. */
  release(block: number, mayBeHit: boolean): void {
    const refCount = this.#refCounts[block]! - 1;
    invariant(refCount >= 0, `block ${block} is released while free`);
    this.#refCounts[block] = refCount;
    if (refCount > 0) return;
    const last = this.#previous[this.numBlocks]!;
    this.#linkAfter(mayBeHit ? last : this.numBlocks, block);
  }

  /** A free block has no holder, and its neighbours in the list link to it. */
  checkFree(block: number): void {
    const refCount = this.#refCounts[block]!;
    invariant(refCount === 0, `block ${block} is free with ${refCount} holders`);
    const [next, previous] = [this.#next[block]!, this.#previous[block]!];
    const isLinked = this.#previous[next] === block && this.#next[previous] === block;
    invariant(isLinked, `the neighbours of block ${block} do not link back`);
  }

  /** A block's content was just used: if it is free, it is reused last. */
  touch(block: number): void {
    if (this.#refCounts[block]! > 0) return;
    this.#unlink(block);
    this.#linkAfter(this.#previous[this.numBlocks]!, block);
  }

  /** Walks the whole free list and checks the invariant; linear in the number of blocks. */
  check(): void {
    let numLinked = 0;
    for (let block = this.#next[this.numBlocks]!; block !== this.numBlocks; block = this.#next[block]!) {
      this.checkFree(block);
      numLinked += 1;
      invariant(numLinked <= this.numBlocks, "the free list has a cycle");
    }
    invariant(numLinked === this.#numFree, `${numLinked} free blocks are linked, ${this.#numFree} counted`);
    let numHeld = 0;
    for (const refCount of this.#refCounts) if (refCount > 0) numHeld += 1;
    invariant(numHeld + numLinked === this.numBlocks, `${numHeld} held and ${numLinked} free blocks`);
  }

  #unlink(block: number): void {
    const next = this.#next[block]!;
    const previous = this.#previous[block]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#numFree -= 1;
  }

  #linkAfter(previous: number, block: number): void {
    const next = this.#next[previous]!;
    this.#next[previous] = block;
    this.#previous[block] = previous;
    this.#next[block] = next;
    this.#previous[next] = block;
    this.#numFree += 1;
  }
}
