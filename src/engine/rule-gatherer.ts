import type { RowRules } from "./row-rules.ts";
import type { SamplingColumns } from "./sampling-columns.ts";
import type { SequenceTable } from "./sequence-table.ts";
import { createFixedMask, isAllowed, maskWords, type TokenMask } from "./token-mask.ts";

/**
 * Rows of logits that follow draft tokens, for speculation. A sequence with k drafts has k + 1 rows: the row of offset
 * i is drawn as if its first i drafts had been accepted. Rows of one sequence stand together, by rising offset.
 */
export interface DraftRows {
  /** [count] drafts before the row; 0 = it follows the known tokens. */
  readonly offsets: Int32Array;
  /** [count] where the drafts of the row's sequence begin in `tokens`. */
  readonly starts: Int32Array;
  readonly tokens: Int32Array;
}

const noDrafts = new Int32Array(0);

/** Writes what requests change in their logits into the columns of a step, row by row. */
export class RuleGatherer {
  readonly #table: SequenceTable;
  readonly #columns: SamplingColumns;
  #numWords = 0;
  /** The row of the table whose rows of logits are being added; −1 for none. */
  #row = -1;
  #drafts: Int32Array = noDrafts;
  #draftStart = 0;
  #historyBegin = 0;
  #historyEnd = 0;
  #mask: TokenMask | null = null;
  /** First word of the mask that was filled last, and how many drafts it had taken in. */
  #maskAt = 0;
  #numMaskDrafts = 0;
  #isMaskStuck = false;

  constructor(table: SequenceTable, columns: SamplingColumns) {
    this.#table = table;
    this.#columns = columns;
  }

  begin(vocabSize: number): void {
    this.#numWords = maskWords(vocabSize);
  }

  /** Adds row `index` of the batch, which belongs to `row` of the table. */
  add(index: number, row: number, rules: RowRules, drafts: DraftRows | undefined): void {
    const offset = drafts === undefined ? 0 : drafts.offsets[index]!;
    if (row !== this.#row) {
      this.end();
      this.#row = row;
      this.#drafts = drafts?.tokens ?? noDrafts;
      this.#draftStart = drafts === undefined ? 0 : drafts.starts[index]!;
      this.#open(row, rules);
    }
    const numOutput = this.#table.numOutputTokens(row) + offset;
    this.#columns.addBiases(numOutput < this.#table.minTokens[row]! ? rules.untilMinTokens : rules.always);
    for (const word of rules.badWords) {
      if (this.#isOneShortOf(word, offset)) this.#columns.addBan(word[word.length - 1]!);
    }
    if (rules.history !== null) this.#addHistory(index, rules, offset);
    if (this.#mask !== null) this.#addMask(index, this.#mask, offset);
  }

  /** Ends the last sequence: its mask forgets the drafts. */
  end(): void {
    if (this.#mask !== null && this.#numMaskDrafts > 0) this.#mask.rollback(this.#numMaskDrafts);
    this.#mask = null;
    this.#numMaskDrafts = 0;
    this.#row = -1;
  }

  #open(row: number, rules: RowRules): void {
    const columns = this.#columns;
    if (rules.allowedTokenIds !== null) rules.mask ??= createFixedMask(rules.allowedTokenIds, this.#numWords);
    rules.follow(this.#table, row);
    this.#historyBegin = columns.numHistory;
    if (rules.history !== null) columns.addHistory(rules.history);
    this.#historyEnd = columns.numHistory;
    this.#mask = rules.mask;
    this.#isMaskStuck = false;
    this.#maskAt = -1;
  }

  /** Whether the output ends in all tokens of the word but its last. */
  #isOneShortOf(word: readonly number[], offset: number): boolean {
    const table = this.#table;
    const row = this.#row;
    const numBefore = word.length - 1;
    if (numBefore > table.numOutputTokens(row) + offset) return false;
    const ids = table.tokenIds(row);
    const numTokens = table.numTokens[row]!;
    for (let back = 1; back <= numBefore; back += 1) {
      const draft = offset - back;
      const id = draft >= 0 ? this.#drafts[this.#draftStart + draft]! : ids[numTokens + draft]!;
      if (id !== word[numBefore - back]) return false;
    }
    return true;
  }

  /** The history of the sequence lies in the columns once; each draft adds an entry after it. */
  #addHistory(index: number, rules: RowRules, offset: number): void {
    const columns = this.#columns;
    const { penalties, historyRanges } = columns.batch;
    for (let draft = columns.numHistory - this.#historyEnd; draft < offset; draft += 1) {
      const id = this.#drafts[this.#draftStart + draft]!;
      let count = rules.history!.countOf(id) + 1;
      for (let before = 0; before < draft; before += 1) {
        if (this.#drafts[this.#draftStart + before] === id) count += 1;
      }
      columns.addHistoryEntry(id, count);
    }
    penalties[index * 3] = rules.repetition;
    penalties[index * 3 + 1] = rules.frequency;
    penalties[index * 3 + 2] = rules.presence;
    historyRanges[index * 3] = this.#historyBegin;
    historyRanges[index * 3 + 1] = this.#historyEnd;
    historyRanges[index * 3 + 2] = this.#historyEnd + offset;
  }

  /** A draft that its mask forbids is never accepted, so what follows it matters to nobody: the mask stays. */
  #addMask(index: number, mask: TokenMask, offset: number): void {
    const { batch } = this.#columns;
    if (this.#maskAt < 0) this.#fill(mask);
    while (this.#numMaskDrafts < offset && !this.#isMaskStuck) {
      const id = this.#drafts[this.#draftStart + this.#numMaskDrafts]!;
      this.#isMaskStuck = !isAllowed(batch.allowed, this.#maskAt, id);
      if (this.#isMaskStuck) break;
      mask.accept(id);
      this.#numMaskDrafts += 1;
      this.#fill(mask);
    }
    batch.maskRows[index] = this.#maskAt / this.#numWords;
  }

  #fill(mask: TokenMask): void {
    this.#maskAt = this.#columns.addMask(this.#numWords);
    mask.fill(this.#columns.batch.allowed, this.#maskAt);
  }
}
