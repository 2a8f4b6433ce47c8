import type { RowDivergences } from "../base/row-divergences.ts";

/** A model whose whole distributions can be read, to be compared with another's. One sequence at a time. */
export interface LogitSource {
  readonly vocabSize: number;
  /** Most tokens that one `read` takes: logits of a whole text never exist at once. */
  readonly maxRows: number;
  /**
   * Computes tokens [first, first + count) of a sequence whose earlier tokens came before, and writes the raw logits of the
   * token after each into `rows`, [count, vocabSize] f32. `first` = 0 begins another sequence. `count` ≤ `maxRows`.
   */
  read(tokenIds: Int32Array, first: number, count: number, rows: Float32Array): void;
}

/** A model whose distributions are compared where they are computed. */
export interface ComparableLogits extends LogitSource {
  /**
   * Computes as many tokens as `out` has entries, from `first` on, as `read` does, and how far the distributions are from
   * those of the logits A, [count, vocabSize] f32. The sequence holds the token after each.
   */
  diverge(tokenIds: Int32Array, first: number, logitsA: Float32Array, out: RowDivergences): void;
}
