import type { RaggedBatch } from "../kernels/ops.ts";
import type { SequenceTable } from "./sequence-table.ts";

/** Builds the ragged batch of a step from rows of the sequence table. Every array is made once and reused. */
export class BatchBuilder {
  readonly batch: RaggedBatch;
  readonly #table: SequenceTable;

  /** @param maxBlocks most blocks of one sequence */
  constructor(table: SequenceTable, maxNumSeqs: number, maxNumTokens: number, maxBlocks: number) {
    this.#table = table;
    this.batch = {
      numTokens: 0,
      numSeqs: 0,
      tokenIds: new Int32Array(maxNumTokens),
      positions: new Int32Array(maxNumTokens),
      slots: new Int32Array(maxNumTokens),
      queryStarts: new Int32Array(maxNumSeqs + 1),
      contextLengths: new Int32Array(maxNumSeqs),
      blockTables: new Int32Array(maxNumSeqs * maxBlocks),
      blockTableStride: maxBlocks,
    };
  }

  clear(): void {
    this.batch.numSeqs = 0;
    this.batch.numTokens = 0;
    this.batch.queryStarts[0] = 0;
  }

  /** Appends tokens [first, first + count) of a row, guesses included. Their blocks must be there. */
  add(row: number, first: number, count: number): void {
    const { batch } = this;
    const index = batch.numSeqs;
    batch.contextLengths[index] = first + count;
    this.#copyBlockTable(row, index);
    this.#copyTokens(row, first, count);
    batch.numTokens += count;
    batch.numSeqs = index + 1;
    batch.queryStarts[index + 1] = batch.numTokens;
  }

  #copyBlockTable(row: number, index: number): void {
    const { blockTables, blockTableStride } = this.batch;
    const blocks = this.#table.blockTable(row);
    const numBlocks = this.#table.numBlocks[row]!;
    const start = index * blockTableStride;
    for (let block = 0; block < numBlocks; block += 1) blockTables[start + block] = blocks[block]!;
  }

  #copyTokens(row: number, first: number, count: number): void {
    const { tokenIds, positions, slots, numTokens } = this.batch;
    const { blockSize } = this.#table;
    const ids = this.#table.tokenIds(row);
    const blocks = this.#table.blockTable(row);
    for (let offset = 0; offset < count; offset += 1) {
      const position = first + offset;
      tokenIds[numTokens + offset] = ids[position]!;
      positions[numTokens + offset] = position;
      slots[numTokens + offset] =
        blocks[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
    }
  }
}
