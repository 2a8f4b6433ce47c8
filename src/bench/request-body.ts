/** A message of a chat. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** Token ids and text go to `/v1/completions`, messages to `/v1/chat/completions`. */
export type Prompt = readonly number[] | string | readonly ChatMessage[];

/** How requests are asked for, the same for all of a load. */
export interface BodyOptions {
  readonly model: string;
  /** Has the server count tokens in every event, so that the tokens of each are known. */
  readonly continuousUsage: boolean;
  /** Fields that go over the usual ones. */
  readonly extraBody: Readonly<Record<string, unknown>>;
}

export function isChat(prompt: Prompt): prompt is readonly ChatMessage[] {
  return typeof prompt !== "string" && typeof prompt[0] === "object";
}

/** Where a prompt goes and what is posted. With a length, the end token is ignored and the answer is exactly so long. */
export function requestFor(
  prompt: Prompt,
  outputTokens: number | null,
  { model, continuousUsage, extraBody }: BodyOptions,
): { readonly path: string; readonly body: string } {
  const chat = isChat(prompt);
  const length =
    outputTokens === null ? {} : { max_tokens: outputTokens, min_tokens: outputTokens, ignore_eos: true };
  const body = {
    model,
    ...(chat ? { messages: prompt } : { prompt }),
    ...length,
    temperature: 0,
    stream: true,
    stream_options: {
      include_usage: true,
      ...(continuousUsage ? { continuous_usage_stats: true } : {}),
    },
    ...extraBody,
  };
  return { path: chat ? "/v1/chat/completions" : "/v1/completions", body: JSON.stringify(body) };
}
