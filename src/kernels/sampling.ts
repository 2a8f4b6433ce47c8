/**
 * Sampling parameters of the rows of one logits matrix. Arrays may be longer than `numRows`.
 * Order of work: bias and bans, penalties, mask, temperature, min-p, top-k, top-p, draw. Log-probabilities are those of
 * the logits before any of it (vLLM's `raw_logprobs`). The logits tensor is as before once the call is over.
 *
 * Penalties (vLLM's): of a token that stands in the row's history, x / repetition where x > 0 and x · repetition
 * elsewhere, then − frequency · count, then − presence where count > 0, each step rounded to f32. A finite logit stays
 * finite: what leaves the range of f32 becomes its largest number.
 *
 * The draw. Candidates stand in the order of falling logit (after all changes), ties to the lowest id; the weight
 * of one is w = exp((logit − highest) / temperature). min-p keeps w ≥ minP; top-k keeps the first topK; top-p keeps
 * the shortest prefix of what is left whose weight reaches topP of the weight of what is left, at least one. With
 * (r0, r1, …) = Philox4x32-10 of counter (output index, sequence index, 0, 0) and u = (r0 · 2^21 + (r1 >> 11)) · 2^-53,
 * the token is the first candidate at which the cumulative weight exceeds u · total, all sums in f64.
 * Where no token is left (every logit −Infinity or NaN), the token id is −1 and its logprob NaN.
 */
export interface SamplingBatch {
  numRows: number;
  /** 0 (and below 1e-30) = greedy; ties break to the lowest id. */
  readonly temperature: Float32Array;
  /** 0 = all. */
  readonly topK: Int32Array;
  readonly topP: Float32Array;
  readonly minP: Float32Array;
  /** [numRows, 2] Philox4x32-10 key: low and high word of the request's seed. */
  readonly seeds: Uint32Array;
  /** [numRows, 2] Philox counter: output index, sequence index. */
  readonly counters: Uint32Array;
  /** [numRows + 1] ranges of `biasIds` / `biasValues` that are added to each row; −Infinity bans a token. */
  readonly biasStarts: Int32Array;
  readonly biasIds: Int32Array;
  readonly biasValues: Float32Array;
  /** [numRows, 3] repetition, frequency and presence penalty; 1, 0, 0 = none. */
  readonly penalties: Float32Array;
  /**
   * [numRows, 3] where the row's history lies in `historyIds` / `historyCounts`: its begin, its end, and the end of
   * the entries after it that draft tokens changed. Those stand in place of the history's own entry for their id; of
   * several for one id the last counts. All three equal = no history.
   */
  readonly historyRanges: Int32Array;
  /** Distinct token ids of prompt and output. */
  readonly historyIds: Int32Array;
  /** How often each stands in the output; 0 = in the prompt only. */
  readonly historyCounts: Int32Array;
  /** [numRows] row of `allowed` that applies; −1 = every token is allowed. */
  readonly maskRows: Int32Array;
  /** [masks, ceil(vocab / 32)] bit set = allowed. */
  readonly allowed: Uint32Array;
  /** [numRows] how many top log-probabilities to return, at most `maxLogprobs` of the output. */
  readonly numLogprobs: Int32Array;
}

export interface SamplingOutput {
  /** [numRows] */
  readonly tokenIds: Int32Array;
  /** [numRows] log-softmax of the raw logits (natural logarithm) at the drawn token. */
  readonly logprobs: Float32Array;
  /**
   * [numRows] rank of the drawn token in the raw logits, 1 = highest; equal logits rank by id. Where no token is left:
   * −1 if bans, penalties and mask took them all, 0 if the raw logits had none.
   */
  readonly ranks: Int32Array;
  readonly maxLogprobs: number;
  /** [numRows, maxLogprobs] ids by falling raw logit, ties to the lowest id. */
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
}

export interface ScoreOutput {
  /** [numTargets] log-softmax at each target. */
  readonly logprobs: Float32Array;
  /** [numTargets] highest id; ties to the lowest id. */
  readonly argmax: Int32Array;
  readonly topK: number;
  /** [numTargets, topK] */
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
}
