import { createHash } from "node:crypto";
import { invariant } from "../base/invariant.ts";

/**
 * What must be equal besides the tokens, by tag: the caller's `cacheSalt`, the `adapter`, or the `request` itself where none may
 * share. The tags go into the key, so that equal values under different tags never meet.
 */
export type PrefixExtras = Readonly<Record<string, string>>;

/** Children with the same first token that are looked at for a partial hit: more would cost more than they save. */
const maxChildrenSearched = 64;

/**
 * Finds cache blocks by the tokens they hold and all tokens before them. The key of a full block is the sha256 of its
 * parent's key and its token ids; the root's is that of the extras. A hit also compares the block's own tokens, so that
 * not even a collision gives wrong text. Blocks that are not full are found through their parent's list of children,
 * which makes hits exact to the token. Holds no reference counts: whether a block is in use is the pool's affair.
 */
export class PrefixIndex {
  readonly #blockSize: number;
  /** [numBlocks, blockSize] token ids of each indexed block. */
  readonly #tokens: Int32Array;
  /** Tokens of a block that may be hit; 0 = not in the index. */
  readonly #numTokens: Int32Array;
  readonly #keys: (string | null)[];
  readonly #parents: (string | null)[];
  readonly #blocks = new Map<string, number>();
  /** Newest child of each prefix and first token; the others follow by links. */
  readonly #firstChild = new Map<string, number>();
  /** Children of each prefix, whatever they begin with. */
  readonly #numChildren = new Map<string, number>();
  readonly #nextSibling: Int32Array;
  readonly #previousSibling: Int32Array;
  readonly #scratch: Uint8Array;
  #numIndexed = 0;
  /** Length of the last partial match. */
  matchedTokens = 0;

  constructor(numBlocks: number, blockSize: number) {
    this.#blockSize = blockSize;
    this.#tokens = new Int32Array(numBlocks * blockSize);
    this.#numTokens = new Int32Array(numBlocks);
    this.#keys = Array.from({ length: numBlocks }, () => null);
    this.#parents = Array.from({ length: numBlocks }, () => null);
    this.#nextSibling = new Int32Array(numBlocks).fill(-1);
    this.#previousSibling = new Int32Array(numBlocks).fill(-1);
    this.#scratch = new Uint8Array(blockSize * 4);
  }

  /** Tokens of `block` that may be hit; 0 when it is not in the index. */
  numTokens(block: number): number {
    return this.#numTokens[block]!;
  }

  rootKey(extras: PrefixExtras): string {
    const tagged = Object.entries(extras).sort(([a], [b]) => (a < b ? -1 : 1));
    return createHash("sha256").update(JSON.stringify(tagged)).digest().toString("latin1");
  }

  /** Key of the full block ids[start … start + blockSize). */
  childKey(parent: string, ids: Int32Array, start: number): string {
    const view = new Int32Array(this.#scratch.buffer);
    for (let offset = 0; offset < this.#blockSize; offset += 1) view[offset] = ids[start + offset]!;
    return createHash("sha256").update(parent, "latin1").update(this.#scratch).digest().toString("latin1");
  }

  /** The block under `key`, if its tokens are those of ids[start …]; else −1. */
  find(key: string, ids: Int32Array, start: number): number {
    const block = this.#blocks.get(key);
    if (block === undefined) return -1;
    return this.#matchLength(block, ids, start, this.#blockSize) === this.#blockSize ? block : -1;
  }

  /** The child of `parent` that shares most tokens with ids[start … end), or −1; their number is in `matchedTokens`. */
  findPartial(parent: string, ids: Int32Array, start: number, end: number): number {
    let best = -1;
    this.matchedTokens = 0;
    let block = this.#firstChild.get(listKey(parent, ids[start]!)) ?? -1;
    for (let seen = 0; block !== -1 && seen < maxChildrenSearched; seen += 1) {
      const length = this.#matchLength(block, ids, start, end - start);
      if (length > this.matchedTokens) {
        best = block;
        this.matchedTokens = length;
      }
      block = this.#nextSibling[block]!;
    }
    return best;
  }

  /** Whether some block below `parent` is known: a miss there is another text, not a lost block. */
  hasChild(parent: string): boolean {
    return this.#numChildren.has(parent);
  }

  /** Enters a full block, unless another block holds the same content already. */
  addFull(block: number, parent: string, key: string, ids: Int32Array, start: number): void {
    if (this.#blocks.has(key)) return;
    this.remove(block);
    this.#blocks.set(key, block);
    this.#keys[block] = key;
    this.#enter(block, parent, ids, start, this.#blockSize);
  }

  /** Enters, or extends, a block of which only the first `count` tokens may be hit. */
  addPartial(block: number, parent: string, ids: Int32Array, start: number, count: number): void {
    invariant(count > 0 && count < this.#blockSize, `a partial block of ${count} tokens`);
    this.remove(block);
    this.#enter(block, parent, ids, start, count);
  }

  /** Forgets a block, because its content goes away. */
  remove(block: number): void {
    if (this.#numTokens[block] === 0) return;
    const key = this.#keys[block]!;
    if (key !== null) this.#blocks.delete(key);
    const parent = this.#parents[block]!;
    invariant(parent !== null, `block ${block} is indexed without a parent`);
    const next = this.#nextSibling[block]!;
    const previous = this.#previousSibling[block]!;
    if (next !== -1) this.#previousSibling[next] = previous;
    if (previous !== -1) this.#nextSibling[previous] = next;
    else if (next !== -1) this.#firstChild.set(this.#listOf(block), next);
    else this.#firstChild.delete(this.#listOf(block));
    const numLeft = this.#numChildren.get(parent)! - 1;
    if (numLeft === 0) this.#numChildren.delete(parent);
    else this.#numChildren.set(parent, numLeft);
    this.#numIndexed -= 1;
    this.#numTokens[block] = 0;
    this.#keys[block] = null;
    this.#parents[block] = null;
  }

  /** Each key, list and prefix is that of an indexed block: there are never more of them. */
  checkCounts(): void {
    const most = this.#numIndexed;
    const isBounded = this.#blocks.size <= most && this.#firstChild.size <= most;
    invariant(
      isBounded && this.#numChildren.size <= this.#firstChild.size,
      "the prefix index has entries of no block",
    );
  }

  /** A block that is indexed is found under its key, and stands in the list of its parent and first token. */
  checkBlock(block: number): void {
    const key = this.#keys[block]!;
    const parent = this.#parents[block]!;
    const isIndexed = this.#numTokens[block]! > 0;
    invariant(
      isIndexed === (parent !== null),
      `block ${block} is indexed without a parent, or has only that`,
    );
    invariant(
      key === null || (isIndexed && this.#blocks.get(key) === block),
      `block ${block} has another key`,
    );
    if (!isIndexed) return;
    const [next, previous] = [this.#nextSibling[block]!, this.#previousSibling[block]!];
    const before = previous === -1 ? this.#firstChild.get(this.#listOf(block)) : this.#nextSibling[previous];
    invariant(before === block, `block ${block} is not in the list of its parent`);
    invariant(next === -1 || this.#previousSibling[next] === block, `block ${next} does not link back`);
    invariant(this.#numChildren.has(parent!), `the parent of block ${block} has no children`);
  }

  /** Walks everything; linear in the number of blocks. */
  check(): void {
    this.checkCounts();
    let numListed = 0;
    for (const [list, first] of this.#firstChild) {
      for (let block = first; block !== -1; block = this.#nextSibling[block]!) {
        invariant(this.#listOf(block) === list, `block ${block} is listed under another parent`);
        numListed += 1;
        invariant(numListed <= this.#numTokens.length, "the list of children has a cycle");
      }
    }
    let numIndexed = 0;
    for (let block = 0; block < this.#numTokens.length; block += 1) {
      this.checkBlock(block);
      if (this.#numTokens[block]! > 0) numIndexed += 1;
    }
    invariant(numIndexed === numListed, `${numIndexed} blocks are indexed, ${numListed} are listed`);
    invariant(
      numIndexed === this.#numIndexed,
      `${numIndexed} blocks are indexed, ${this.#numIndexed} counted`,
    );
    for (const [key, block] of this.#blocks)
      invariant(this.#keys[block] === key, `block ${block} has another key`);
  }

  #enter(block: number, parent: string, ids: Int32Array, start: number, count: number): void {
    const at = block * this.#blockSize;
    for (let offset = 0; offset < count; offset += 1) this.#tokens[at + offset] = ids[start + offset]!;
    this.#numIndexed += 1;
    this.#numTokens[block] = count;
    this.#parents[block] = parent;
    const list = this.#listOf(block);
    const next = this.#firstChild.get(list) ?? -1;
    this.#nextSibling[block] = next;
    this.#previousSibling[block] = -1;
    if (next !== -1) this.#previousSibling[next] = block;
    this.#firstChild.set(list, block);
    this.#numChildren.set(parent, (this.#numChildren.get(parent) ?? 0) + 1);
  }

  /** Key of the list that an indexed block stands in. */
  #listOf(block: number): string {
    return listKey(this.#parents[block]!, this.#tokens[block * this.#blockSize]!);
  }

  #matchLength(block: number, ids: Int32Array, start: number, most: number): number {
    const at = block * this.#blockSize;
    const end = Math.min(most, this.#numTokens[block]!);
    let length = 0;
    while (length < end && this.#tokens[at + length] === ids[start + length]) length += 1;
    return length;
  }
}

function listKey(parent: string, firstToken: number): string {
  return `${parent}${firstToken}`;
}
