/** How two models differ at each predicted token, in the order of the text. */
export interface TokenDivergences {
  /** Kullback-Leibler divergence of B's distribution from A's, KL(A‖B), in nats. */
  readonly kl: Float64Array;
  /** 1 where both hold the same token for the most likely; ties go to the lowest id. */
  readonly isSameTop: Uint8Array;
  /** −log p of the token that follows, in nats. */
  readonly lossA: Float64Array;
  readonly lossB: Float64Array;
  /** Tokens of each window; the windows lie one after the other. */
  readonly windowSizes: readonly number[];
}

export interface TokenRows {
  /** Raw logits of either model, [vocabSize] f32. */
  readonly a: Float32Array;
  readonly b: Float32Array;
  /** The token that follows. */
  readonly target: number;
}

/**
 * Compares one position, in float64: with p = softmax(a), KL = Σ p·(a − b) − (log Σ exp a − log Σ exp b).
 * Hot: two exponentials for each token of the vocabulary.
 */
export function addDivergence(found: TokenDivergences, at: number, { a, b, target }: TokenRows): void {
  const topA = indexOfHighest(a);
  const topB = indexOfHighest(b);
  const highestA = a[topA]!;
  const highestB = b[topB]!;
  let sumA = 0;
  let sumB = 0;
  let weighted = 0;
  for (let i = 0; i < a.length; i += 1) {
    const weight = Math.exp(a[i]! - highestA);
    sumA += weight;
    // A token that A rules out adds nothing, whatever B says of it.
    if (weight > 0) weighted += weight * (a[i]! - b[i]!);
    sumB += Math.exp(b[i]! - highestB);
  }
  const logA = highestA + Math.log(sumA);
  const logB = highestB + Math.log(sumB);
  found.kl[at] = weighted / sumA - (logA - logB);
  found.isSameTop[at] = topA === topB ? 1 : 0;
  found.lossA[at] = logA - a[target]!;
  found.lossB[at] = logB - b[target]!;
}

function indexOfHighest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}
