import { z } from "zod";
import type { PromptUsage } from "../protocol/completer.ts";

const count = z.int().nonnegative();
const promptSchema = z.object({ usage: z.object({ prompt_tokens: count }) });
const cachedSchema = z.object({
  usage: z.object({ prompt_tokens_details: z.object({ cached_tokens: count }) }),
});

/** OpenAI's `usage.prompt_tokens` of an answer, and `prompt_tokens_details.cached_tokens` of it, where it says them. */
export function promptUsageOf(answer: unknown): PromptUsage {
  const numPromptTokens = promptSchema.safeParse(answer).data?.usage.prompt_tokens;
  const numCachedTokens = cachedSchema.safeParse(answer).data?.usage.prompt_tokens_details.cached_tokens;
  return {
    ...(numPromptTokens === undefined ? {} : { numPromptTokens }),
    ...(numCachedTokens === undefined ? {} : { numCachedTokens }),
  };
}
