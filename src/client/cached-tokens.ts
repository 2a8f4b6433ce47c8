import { z } from "zod";

const usageSchema = z.object({
  usage: z.object({ prompt_tokens_details: z.object({ cached_tokens: z.int().nonnegative() }) }),
});

/** OpenAI's `usage.prompt_tokens_details.cached_tokens` of an answer; null where it does not say. */
export function cachedTokensOf(answer: unknown): number | null {
  return usageSchema.safeParse(answer).data?.usage.prompt_tokens_details.cached_tokens ?? null;
}
