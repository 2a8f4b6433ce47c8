import type { RequestScheduling, Scorer } from "../protocol/engine-client.ts";

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

/**
 * Log-probabilities of a prompt's own tokens, in the shape of vLLM's `prompt_logprobs`: one entry per token, null for
 * the first, which has nothing before it. Nothing is generated; equal tokens have equal bits in both places.
 *
 * @param numTop most likely tokens to name at each place; 0 for the prompt's own only
 */
export async function scorePrompt(
  scorer: Scorer,
  promptTokenIds: readonly number[],
  numTop: number,
  scheduling?: RequestScheduling,
): Promise<(PromptTokenLogprobs | null)[]> {
  if (promptTokenIds.length < 2) return promptTokenIds.map(() => null);
  const request = { tokenIds: promptTokenIds, start: 1, topK: numTop };
  const scores = await scorer.score(scheduling === undefined ? request : { ...request, scheduling });
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
