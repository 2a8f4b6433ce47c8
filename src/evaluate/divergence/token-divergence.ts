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

/** What A predicts at one position, read once for all that are compared with it. */
export class TokenPrediction {
  /** The token that follows. */
  target = 0;
  /** [vocabSize] raw logits, of the caller's array. */
  logits: Float32Array = new Float32Array(0);
  /** [vocabSize] exp(a − highest a). */
  readonly weights: Float64Array;
  /** Σ of them. */
  sum = 0;
  top = 0;
  /** log Σ exp a */
  logSum = 0;

  constructor(vocabSize: number) {
    this.weights = new Float64Array(vocabSize);
  }

  read(logits: Float32Array, target: number): void {
    const { weights } = this;
    const top = indexOfHighest(logits);
    const highest = logits[top]!;
    let sum = 0;
    for (let i = 0; i < weights.length; i += 1) {
      const weight = Math.exp(logits[i]! - highest);
      weights[i] = weight;
      sum += weight;
    }
    this.target = target;
    this.logits = logits;
    this.sum = sum;
    this.top = top;
    this.logSum = highest + Math.log(sum);
  }
}

/**
 * Compares one position with logits b [vocabSize] f32, in float64: with p = softmax(a),
 * KL = Σ p·(a − b) − (log Σ exp a − log Σ exp b). Hot: an exponential for each token of the vocabulary.
 */
export function addDivergence(
  found: TokenDivergences,
  at: number,
  { target, logits: a, weights, sum, top, logSum }: TokenPrediction,
  b: Float32Array,
): void {
  const topB = indexOfHighest(b);
  const highestB = b[topB]!;
  let sumB = 0;
  let weighted = 0;
  for (let i = 0; i < b.length; i += 1) {
    const weight = weights[i]!;
    // A token that A rules out adds nothing, whatever B says of it.
    if (weight > 0) weighted += weight * (a[i]! - b[i]!);
    sumB += Math.exp(b[i]! - highestB);
  }
  const logB = highestB + Math.log(sumB);
  found.kl[at] = weighted / sum - (logSum - logB);
  found.isSameTop[at] = top === topB ? 1 : 0;
  found.lossA[at] = logSum - a[target]!;
  found.lossB[at] = logB - b[target]!;
}

function indexOfHighest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}
