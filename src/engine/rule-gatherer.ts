import type { RowRules } from "./row-rules.ts";
import type { SamplingColumns } from "./sampling-columns.ts";
import type { SequenceTable } from "./sequence-table.ts";
import { createFixedMask, isAllowed, maskWords, type TokenMask } from "./token-mask.ts";

const none = new Int32Array(0);

/**
 * Writes what requests change in their logits into the columns of a step, row by row. Draft tokens stand in the table
 * after the known ones; the row of offset i is drawn as if its first i drafts had been accepted. Rows of one sequence
 * stand together, by rising offset.
 */
export class RuleGatherer {
  readonly #table: SequenceTable;
  readonly #columns: SamplingColumns;
  #numWords = 0;
  /** The row of the table whose rows of logits are being added; −1 for none. */
  #row = -1;
  /** Its drafts: `#tokenIds[#draftStart + i]`. */
  #tokenIds: Int32Array = none;
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

  /** Adds row `index` of the batch, which belongs to `row` of the table and follows `offset` drafts. */
  add(index: number, row: number, offset: number, rules: RowRules): void {
    if (row !== this.#row) this.#open(row, rules);
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
    this.end();
    this.#row = row;
    this.#tokenIds = this.#table.tokenIds(row);
    this.#draftStart = this.#table.numTokens[row]!;
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
    const numBefore = word.length - 1;
    if (numBefore > this.#table.numOutputTokens(this.#row) + offset) return false;
    const first = this.#draftStart + offset - numBefore;
    for (let at = 0; at < numBefore; at += 1) if (this.#tokenIds[first + at] !== word[at]) return false;
    return true;
  }

  /** The history of the sequence lies in the columns once; each draft adds an entry after it. */
  #addHistory(index: number, rules: RowRules, offset: number): void {
    const columns = this.#columns;
    const { penalties, historyRanges } = columns.batch;
    for (let draft = columns.numHistory - this.#historyEnd; draft < offset; draft += 1) {
      const id = this.#tokenIds[this.#draftStart + draft]!;
      let count = rules.history!.countOf(id) + 1;
      for (let before = 0; before < draft; before += 1) {
        if (this.#tokenIds[this.#draftStart + before] === id) count += 1;
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
      const id = this.#tokenIds[this.#draftStart + this.#numMaskDrafts]!;
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
