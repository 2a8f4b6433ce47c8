import { MillraceError } from "../base/errors.ts";
import type { FirstTokenReader, TokenLogprob } from "../protocol/completer.ts";
import type { JsonChannel } from "./json-channel.ts";
import { promptUsageOf } from "./prompt-usage.ts";

/** The most that OpenAI's endpoint tells, and vLLM's by default. */
const numTop = 20;
const path = "/v1/chat/completions";
const needs =
  "Reading a verdict from log-probabilities needs chat completions with logprobs and top_logprobs.";

/** First tokens from `POST /v1/chat/completions` with `top_logprobs`. Throws `endpoint_unreachable`, `endpoint_failed`. */
export function createHttpFirstTokenReader(channel: JsonChannel, model: string): FirstTokenReader {
  return {
    async firstTokens(messages, signal) {
      const asked = { max_tokens: 1, temperature: 0, logprobs: true, top_logprobs: numTop };
      const answer = await channel.post(path, { model, messages, ...asked }, { needs, signal });
      const tokens = tokensOf(answer);
      if (tokens !== null) return { tokens, ...promptUsageOf(answer) };
      throw new MillraceError(
        "endpoint_failed",
        `The answer of ${channel.urlOf(path)} has no choices[0].logprobs.content[0].top_logprobs. ${needs} Use a server that has them, or let the judge write with --verdict text.`,
      );
    },
  };
}

function tokensOf(answer: unknown): TokenLogprob[] | null {
  const steps = at(at(at(answer, "choices"), 0), "logprobs");
  const tops = at(at(at(steps, "content"), 0), "top_logprobs");
  if (!Array.isArray(tops) || tops.length === 0) return null;
  const tokens = tops.map((top: unknown) => ({ token: at(top, "token"), logprob: at(top, "logprob") }));
  return tokens.every(isTokenLogprob) ? tokens : null;
}

function isTokenLogprob(value: {
  readonly token: unknown;
  readonly logprob: unknown;
}): value is TokenLogprob {
  return typeof value.token === "string" && typeof value.logprob === "number";
}

function at(value: unknown, key: string | number): unknown {
  return typeof value === "object" && value !== null
    ? (value as Record<string | number, unknown>)[key]
    : undefined;
}
