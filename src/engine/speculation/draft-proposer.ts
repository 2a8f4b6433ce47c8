/**
 * Guesses the next tokens of sequences that decode. Guesses cost time only: the model draws every token itself, and a
 * guess merely lets it draw several in one step. So a proposer may use any means, and may be wrong.
 */
export interface DraftProposer {
  /** Milliseconds that guesses for so many rows, `depth` each, are likely to take; 0 as long as none were made. */
  proposeMs(numRows: number, depth: number): number;
  /** Milliseconds that it takes to catch up with a row, before its first guess or after a time without. */
  catchUpMs(row: number): number;
  /**
   * Puts up to `depths[i]` guesses behind the known tokens of rows[i], for i < count, with `SequenceTable.setDrafts`.
   * May do a part of the work and leave the guesses to a later call.
   */
  propose(rows: Int32Array, depths: Int32Array, count: number): void;
  /** The first `numRight` guesses of a row, for tokens from `first` on, were right and are known tokens now. */
  accept(row: number, first: number, numRight: number): void;
}

export type SpeculationMethod = "ngram" | "draft";
