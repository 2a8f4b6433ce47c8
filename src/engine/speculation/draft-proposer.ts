/**
 * Guesses the next tokens of sequences that decode. Guesses cost time only: the model draws every token itself, and a
 * guess merely lets it draw several in one step. So a proposer may use any means, and may be wrong.
 */
export interface DraftProposer {
  /** Puts up to `depths[i]` guesses behind the known tokens of rows[i], for i < count, with `SequenceTable.setDrafts`. */
  propose(rows: Int32Array, depths: Int32Array, count: number): void;
  /** A row is closed or starts anew: what is kept for it no longer holds. */
  forget(row: number): void;
}

export type SpeculationMethod = "ngram" | "draft";
