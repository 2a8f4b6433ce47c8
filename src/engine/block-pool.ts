import { invariant } from "../base/invariant.ts";

/**
 * Hands out the physical blocks of the KV cache. Invariant: a block is in the free list (reference count 0) or is
 * held by at least one sequence. The free list is intrusive (two links per block, in typed arrays) and doubly
 * linked, so that a block can leave it from the middle. Last freed, first reused: its cache lines may still be warm.
 */
export class BlockPool {
  readonly numBlocks: number;
  readonly #refCounts: Int32Array;
  /** Links by block; entry `numBlocks` is the sentinel that closes the ring. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #numFree: number;

  constructor(numBlocks: number) {
    invariant(Number.isInteger(numBlocks) && numBlocks > 0, `a pool of ${numBlocks} blocks`);
    this.numBlocks = numBlocks;
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

  /**
   * Takes `count` blocks into `into[at …]`, each with reference count 1, or takes none and returns false: running
   * out is not an error here.
   */
  tryAllocate(count: number, into: Int32Array, at: number): boolean {
    if (count > this.#numFree) return false;
    invariant(at + count <= into.length, `${count} blocks at ${at} of a block table of ${into.length}`);
    for (let index = 0; index < count; index += 1) {
      const block = this.#next[this.numBlocks]!;
      this.#unlink(block);
      this.#refCounts[block] = 1;
      into[at + index] = block;
    }
    return true;
  }

  /** One more holder of a block that is in use. */
  retain(block: number): void {
    invariant(this.#refCounts[block]! > 0, `block ${block} is retained while free`);
    this.#refCounts[block]! += 1;
  }

  /**
   * Gives up the first `count` blocks of a table, the last one first, so that a sequence's head is reused before
   * its tail: a later holder finds the blocks in their old order.
   */
  release(table: Int32Array, count: number): void {
    for (let index = count - 1; index >= 0; index -= 1) {
      const block = table[index]!;
      const refCount = this.#refCounts[block]! - 1;
      invariant(refCount >= 0, `block ${block} is released while free`);
      this.#refCounts[block] = refCount;
      if (refCount === 0) this.#linkFirst(block);
    }
  }

  /** Walks the whole free list and checks the invariant; linear in the number of blocks. */
  check(): void {
    let numLinked = 0;
    let previous = this.numBlocks;
    for (let block = this.#next[this.numBlocks]!; block !== this.numBlocks; block = this.#next[block]!) {
      invariant(
        this.#refCounts[block] === 0,
        `block ${block} is free with ${this.#refCounts[block]} holders`,
      );
      invariant(this.#previous[block] === previous, `block ${block} does not link back to ${previous}`);
      numLinked += 1;
      invariant(numLinked <= this.numBlocks, "the free list has a cycle");
      previous = block;
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

  #linkFirst(block: number): void {
    const first = this.#next[this.numBlocks]!;
    this.#next[this.numBlocks] = block;
    this.#previous[block] = this.numBlocks;
    this.#next[block] = first;
    this.#previous[first] = block;
    this.#numFree += 1;
  }
}
