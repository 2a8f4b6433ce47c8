import type { EngineCounters } from "./engine-stats.ts";
import type { PrefixChains } from "./prefix-chains.ts";
import type { PrefixIndex } from "./prefix-index.ts";
import type { SequenceTable } from "./sequence-table.ts";

/** Whether two blocks hold the same bytes for their first `numTokens` tokens. */
export type BlockComparison = (blockA: number, blockB: number, numTokens: number) => boolean;

export interface PrefixSelfCheckParts {
  readonly table: SequenceTable;
  readonly index: PrefixIndex;
  readonly chains: PrefixChains;
  readonly counters: EngineCounters;
  readonly compare: BlockComparison;
}

/** Compares what a row computed with what a hit would have given it: of whole blocks and of beginnings of blocks. */
export class PrefixSelfCheck {
  readonly #parts: PrefixSelfCheckParts;

  constructor(parts: PrefixSelfCheckParts) {
    this.#parts = parts;
  }

  /** Called with the first `numTokens` tokens of a row's block computed, before the index learns of them. */
  check(row: number, blockIndex: number, numTokens: number): void {
    const { table, index, chains, counters, compare } = this.#parts;
    const block = table.blockTable(row)[blockIndex]!;
    // It shall not be its own witness.
    index.remove(block);
    const ids = table.tokenIds(row);
    const start = blockIndex * table.blockSize;
    const isFull = numTokens === table.blockSize;
    let known = isFull ? index.find(chains.keyOf(row, blockIndex), ids, start) : -1;
    let numShared = numTokens;
    if (known === -1) {
      known = index.findPartial(chains.keyOf(row, blockIndex - 1), ids, start, start + numTokens);
      numShared = index.matchedTokens;
    }
    if (known !== -1 && !compare(known, block, numShared)) counters.add("numPrefixMismatches", 1);
  }
}
