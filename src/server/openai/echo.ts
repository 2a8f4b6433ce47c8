import type { TokenLogprobs } from "../../protocol/engine-client.ts";
import type { ServedModel } from "../served-model.ts";
import { roomAfter } from "./sampling.ts";
import type { CompletionBody } from "./schemas.ts";

/** The prompt as the answer repeats it; the first token has no log-probability. */
export interface PromptEcho {
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly entries: readonly (TokenLogprobs | null)[];
}

/** What `echo` puts before the answer, or null without it. With `logprobs` the prompt is scored. */
export async function echoOf(
  model: ServedModel,
  prompt: readonly number[],
  body: CompletionBody,
): Promise<PromptEcho | null> {
  if (body.echo !== true) return null;
  if (body.max_tokens !== 0) roomAfter(model, prompt.length);
  const text = model.tokenizer.decode(prompt, { skipSpecialTokens: body.skip_special_tokens ?? true });
  if (body.logprobs == null) return { text, tokenIds: prompt, entries: prompt.map(() => null) };
  if (prompt.length < 2) return { text, tokenIds: prompt, entries: [null] };
  const topK = Math.max(1, body.logprobs);
  const scored = await model.client.score({ tokenIds: prompt, start: 1, topK });
  const entries = Array.from(scored.logprobs, (logprob, index): TokenLogprobs => {
    const topIds = Array.from(scored.topIds.subarray(index * topK, (index + 1) * topK));
    const topLogprobs = Array.from(scored.topLogprobs.subarray(index * topK, (index + 1) * topK));
    const found = topIds.indexOf(prompt[index + 1]!);
    return { logprob, rank: found === -1 ? 0 : found + 1, topIds, topLogprobs };
  });
  return { text, tokenIds: prompt, entries: [null, ...entries] };
}
