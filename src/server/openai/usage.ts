/** The `usage` object of both dialects. */
export function usageObject(usage: {
  readonly prompt: number;
  readonly completion: number;
  readonly cached: number;
}): Record<string, unknown> {
  return {
    prompt_tokens: usage.prompt,
    completion_tokens: usage.completion,
    total_tokens: usage.prompt + usage.completion,
    prompt_tokens_details: { cached_tokens: usage.cached },
  };
}
