/** How the predictions of two models, A and B, differ, an entry for each predicted token. */
export interface RowDivergences {
  /** Kullback-Leibler divergence of B's distribution from A's, KL(A‖B), in nats. */
  readonly kl: Float64Array;
  /** 1 where both hold the same token for the most likely; ties go to the lowest id. */
  readonly isSameTop: Uint8Array;
  /** −log p of the token that follows, in nats. */
  readonly lossA: Float64Array;
  readonly lossB: Float64Array;
}
