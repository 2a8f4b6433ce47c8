import { invariant } from "../base/invariant.ts";
import type { KvMoveList } from "./kv-move-list.ts";

/**
 * Books of the host tier: which of its blocks hold which tail of a preempted sequence. Bounded; a sequence that does
 * not fit is computed again instead.
 */
export class HostTier {
  readonly capacity: number;
  readonly #blockSize: number;
  readonly #free: number[];
  /** Host blocks by row, in the order of the sequence's blocks. */
  readonly #rows = new Map<number, number[]>();

  constructor(capacity: number, blockSize: number) {
    this.capacity = capacity;
    this.#blockSize = blockSize;
    this.#free = Array.from({ length: capacity }, (_, index) => capacity - 1 - index);
  }

  get numRows(): number {
    return this.#rows.size;
  }

  rows(): number[] {
    return [...this.#rows.keys()];
  }

  /** Blocks that are kept for a row. */
  numBlocks(row: number): number {
    return this.#rows.get(row)?.length ?? 0;
  }

  /** Lists blocks[first … first + count) to be saved, before those that are kept already; false when there is no room. */
  save(row: number, blocks: Int32Array, first: number, count: number, moves: KvMoveList): boolean {
    if (count > this.#free.length) return false;
    const kept: number[] = [];
    for (let index = first; index < first + count; index += 1) {
      const hostBlock = this.#free.pop()!;
      moves.out(blocks[index]!, hostBlock, this.#blockSize);
      kept.push(hostBlock);
    }
    this.#rows.set(row, [...kept, ...(this.#rows.get(row) ?? [])]);
    return true;
  }

  /** Lists all that is kept for a row to be brought back into blocks[first …]. */
  bringBack(row: number, blocks: Int32Array, first: number, moves: KvMoveList): void {
    const kept = this.#rows.get(row) ?? [];
    invariant(first + kept.length <= blocks.length, "a swapped row has too few blocks to come back to");
    for (const [index, hostBlock] of kept.entries())
      moves.in(hostBlock, blocks[first + index]!, this.#blockSize);
    this.release(row);
  }

  release(row: number): void {
    const kept = this.#rows.get(row);
    if (kept === undefined) return;
    this.#free.push(...kept);
    this.#rows.delete(row);
  }

  check(): void {
    let numKept = 0;
    for (const kept of this.#rows.values()) numKept += kept.length;
    invariant(
      numKept + this.#free.length === this.capacity,
      `${numKept} host blocks are kept and ${this.#free.length} free of ${this.capacity}`,
    );
  }
}
