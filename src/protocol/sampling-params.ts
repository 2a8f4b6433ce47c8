/** How tokens are drawn, after vLLM's `SamplingParams`. Times and ids are plain numbers; defaults in `defaultSampling`. */
export interface SamplingParams {
  /** Most tokens to generate. */
  readonly maxTokens: number;
  /** End-of-sequence and stop ids are banned until this many tokens are out. */
  readonly minTokens: number;
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP: number;
  /** 0 = all. */
  readonly topK: number;
  readonly minP: number;
  /** Unsigned 64-bit as a decimal bigint, or null: the engine then draws one per request. */
  readonly seed: bigint | null;
  /** Token ids that end the sequence, besides the model's own end tokens. */
  readonly stopTokenIds: readonly number[];
  readonly ignoreEos: boolean;
  /** How many top log-probabilities per token; null = none wanted, 0 = only the drawn token's. */
  readonly logprobs: number | null;
  /** Added to the logits of single tokens. */
  readonly logitBias: ReadonlyMap<number, number> | null;
  /** For each token of prompt or output: its logit divided by this where above 0, multiplied elsewhere. 1 = none. */
  readonly repetitionPenalty: number;
  /** Subtracted from the logit of each token of the output, for each time it is there. */
  readonly frequencyPenalty: number;
  /** Subtracted once from the logit of each token of the output. */
  readonly presencePenalty: number;
  /** The only tokens that may be drawn; null = all. */
  readonly allowedTokenIds: readonly number[] | null;
  /**
   * Token sequences that the output must not hold: the last token of one is banned where those before it are the
   * newest of the output. One of a single token is always banned.
   */
  readonly badWords: readonly (readonly number[])[];
}

/** Most bad words of one request. */
export const maxBadWords = 1000;

/** Most top log-probabilities per token; OpenAI's and vLLM's limit. */
export const maxLogprobs = 20;

export const defaultSampling: SamplingParams = {
  maxTokens: 16,
  minTokens: 0,
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  seed: null,
  stopTokenIds: [],
  ignoreEos: false,
  logprobs: null,
  logitBias: null,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  allowedTokenIds: null,
  badWords: [],
};
