import type { SequenceTable } from "../sequence-table.ts";

/**
 * What a draft model's cache holds: of each block, how many of its first tokens. It uses the target's block tables, so a
 * prefix that one sequence computed serves the others that share its blocks. What stands for a block ends when the pool
 * hands the block out anew.
 */
export class DraftCoverage {
  readonly #table: SequenceTable;
  /** [blocks] how often the pool has handed each out, see `BlockPool`. */
  readonly #numUses: Uint32Array;
  readonly #numHeld: Int32Array;
  /** [blocks] the use that `#numHeld` is of. */
  readonly #heldUses: Uint32Array;

  constructor(table: SequenceTable, numUses: Uint32Array) {
    this.#table = table;
    this.#numUses = numUses;
    this.#numHeld = new Int32Array(numUses.length);
    this.#heldUses = new Uint32Array(numUses.length);
  }

  /** Known tokens of a row, from the first on, whose K and V are there. */
  numHeld(row: number): number {
    const { blockSize, numBlocks, numTokens } = this.#table;
    const blocks = this.#table.blockTable(row);
    let total = 0;
    for (let index = 0; index < numBlocks[row]!; index += 1) {
      const held = this.#heldIn(blocks[index]!);
      total += held;
      if (held < blockSize) break;
    }
    return Math.min(total, numTokens[row]!);
  }

  /** Tokens [first, end) of a row were computed after those before. */
  extend(row: number, first: number, end: number): void {
    const { blockSize } = this.#table;
    const blocks = this.#table.blockTable(row);
    for (let index = Math.floor(first / blockSize); index * blockSize < end; index += 1) {
      const block = blocks[index]!;
      this.#numHeld[block] = Math.max(this.#heldIn(block), Math.min(blockSize, end - index * blockSize));
      this.#heldUses[block] = this.#numUses[block]!;
    }
  }

  #heldIn(block: number): number {
    return this.#heldUses[block] === this.#numUses[block] ? this.#numHeld[block]! : 0;
  }
}
