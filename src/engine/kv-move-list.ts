import { type KvMoves, kvMoveKinds } from "../kernels/ops.ts";

/** The moves of KV content that the next step begins with, in order. Reused; grows to the most that a step needed. */
export class KvMoveList implements KvMoves {
  count = 0;
  kinds: Uint8Array = new Uint8Array(16);
  sources: Int32Array = new Int32Array(16);
  targets: Int32Array = new Int32Array(16);
  numTokens: Int32Array = new Int32Array(16);

  /** The first tokens of one block to another. */
  copy(source: number, target: number, numTokens: number): void {
    this.#add(kvMoveKinds.copy, source, target, numTokens);
  }

  /** A block to the host tier. */
  out(block: number, hostBlock: number, numTokens: number): void {
    this.#add(kvMoveKinds.out, block, hostBlock, numTokens);
  }

  /** A block back from the host tier. */
  in(hostBlock: number, block: number, numTokens: number): void {
    this.#add(kvMoveKinds.in, hostBlock, block, numTokens);
  }

  clear(): void {
    this.count = 0;
  }

  #add(kind: number, source: number, target: number, numTokens: number): void {
    if (this.count === this.kinds.length) this.#enlarge();
    this.kinds[this.count] = kind;
    this.sources[this.count] = source;
    this.targets[this.count] = target;
    this.numTokens[this.count] = numTokens;
    this.count += 1;
  }

  #enlarge(): void {
    const { kinds, sources, targets, numTokens } = this;
    const length = kinds.length * 2;
    this.kinds = new Uint8Array(length);
    this.kinds.set(kinds);
    this.sources = new Int32Array(length);
    this.sources.set(sources);
    this.targets = new Int32Array(length);
    this.targets.set(targets);
    this.numTokens = new Int32Array(length);
    this.numTokens.set(numTokens);
  }
}
