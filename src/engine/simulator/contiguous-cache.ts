import type { SequenceTable } from "../sequence-table.ts";

/**
 * KV memory as it was before paging: a sequence gets room for its prompt and all tokens it may ask for, in one piece,
 * before its first step, and keeps it to the end (Orca's way, as Kwon et al. 2023 section 2 describe it). The holes
 * between pieces, which cost a further share, are not counted: they would only make it worse.
 */
export class ContiguousCache {
  readonly numTokens: number;
  readonly #table: SequenceTable;
  readonly #reserved: Int32Array;
  #numHeld = 0;

  constructor(numTokens: number, table: SequenceTable) {
    this.numTokens = numTokens;
    this.#table = table;
    this.#reserved = new Int32Array(table.capacity);
  }

  get numHeld(): number {
    return this.#numHeld;
  }

  /** What a sequence takes. Its last token is drawn, but never computed. */
  needOf(row: number): number {
    return this.#table.numPromptTokens[row]! + this.#table.maxTokens[row]! - 1;
  }

  /** Takes a sequence's room; false when there is not so much. */
  tryReserve(row: number): boolean {
    const need = this.needOf(row);
    if (this.#numHeld + need > this.numTokens) return false;
    this.#numHeld += need;
    this.#reserved[row] = need;
    return true;
  }

  /** Gives it back; nothing for a row that has none. */
  release(row: number): void {
    this.#numHeld -= this.#reserved[row]!;
    this.#reserved[row] = 0;
  }
}
