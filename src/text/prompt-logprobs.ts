import type { RequestScheduling, ScoreResult, Scorer } from "../protocol/engine-client.ts";

/** One token of a prompt, given all before it. */
export interface PromptTokenLogprobs {
  readonly tokenId: number;
  readonly logprob: number;
  /** 1 = most likely; null where it is not among the `numTop` most likely. */
  readonly rank: number | null;
  /** The most likely tokens at this place, falling. */
  readonly topIds: readonly number[];
  readonly topLogprobs: readonly number[];
}

/** One entry per token of a prompt, null for the first, which has nothing before it. */
export type PromptLogprobs = readonly (PromptTokenLogprobs | null)[];

export interface ScoreTerms {
  readonly scheduling?: RequestScheduling;
  /** Ends the work, and rejects with its reason. */
  readonly signal?: AbortSignal;
  /** Hears of each prompt, by its index, how many of its tokens were not computed for this. */
  readonly onCached?: (index: number, numTokens: number) => void;
}

/**
 * Log-probabilities of a prompt's own tokens, in the shape of vLLM's `prompt_logprobs`. Nothing is generated; equal
 * tokens have equal bits in both places. Errors: see `GenerateRequest`.
 *
 * @param numTop most likely tokens to name at each place; 0 for the prompt's own only
 */
export async function scorePrompt(
  scorer: Scorer,
  promptTokenIds: readonly number[],
  numTop: number,
  { scheduling, signal, onCached }: ScoreTerms = {},
): Promise<PromptLogprobs> {
  signal?.throwIfAborted();
  if (promptTokenIds.length < 2) return promptTokenIds.map(() => null);
  const request = { tokenIds: promptTokenIds, start: 1, topK: numTop };
  const own = scheduling === undefined ? request : { ...request, scheduling };
  const scores = await scorer.score(own, signal);
  onCached?.(0, scores.numCachedTokens ?? 0);
  return readScores(promptTokenIds, numTop, scores);
}

/** As `scorePrompt`, for several prompts at once. The first failure ends the others. */
export async function scorePrompts(
  scorer: Scorer,
  prompts: readonly (readonly number[])[],
  numTop: number,
  { scheduling, signal, onCached }: ScoreTerms = {},
): Promise<PromptLogprobs[]> {
  const failed = new AbortController();
  const signals = signal === undefined ? [failed.signal] : [signal, failed.signal];
  const terms = { signal: AbortSignal.any(signals), ...(scheduling === undefined ? {} : { scheduling }) };
  try {
    return await Promise.all(
      prompts.map((prompt, index) =>
        scorePrompt(scorer, prompt, numTop, {
          ...terms,
          onCached: (_, numTokens) => onCached?.(index, numTokens),
        }),
      ),
    );
  } finally {
    failed.abort();
  }
}

function readScores(promptTokenIds: readonly number[], numTop: number, scores: ScoreResult): PromptLogprobs {
  return promptTokenIds.map((tokenId, position) => {
    if (position === 0) return null;
    const at = position - 1;
    const topIds = Array.from(scores.topIds.subarray(at * numTop, (at + 1) * numTop));
    const topLogprobs = Array.from(scores.topLogprobs.subarray(at * numTop, (at + 1) * numTop));
    const place = topIds.indexOf(tokenId);
    return {
      tokenId,
      logprob: scores.logprobs[at]!,
      rank: place < 0 ? null : place + 1,
      topIds,
      topLogprobs,
    };
  });
}
