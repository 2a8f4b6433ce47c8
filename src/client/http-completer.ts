import { MillraceError } from "../base/errors.ts";
import type { ChatCompleter, Completer, Completion, CompletionSettings } from "../protocol/completer.ts";
import type { JsonChannel } from "./json-channel.ts";
import { promptUsageOf } from "./prompt-usage.ts";

/** OpenAI's chat endpoint takes no more. */
const maxChatStops = 4;

/**
 * Text from `POST /v1/completions` with token-id prompts, as lm-eval's `local-completions` asks for it.
 * Throws `endpoint_unreachable`, `endpoint_failed`.
 */
export function createHttpCompleter(channel: JsonChannel, model: string): Completer {
  return {
    async complete(prompt, settings, signal) {
      const body = { model, prompt, ...bodyOf(settings), stop: settings.stop };
      const needs = "Generating needs completions of token-id prompts.";
      const answer = await channel.post("/v1/completions", body, { needs, signal });
      return readChoice(answer, (choice) => choice["text"], channel.urlOf("/v1/completions"));
    },
  };
}

/** Text from `POST /v1/chat/completions`, as lm-eval's `local-chat-completions` asks for it. Errors as above. */
export function createHttpChatCompleter(channel: JsonChannel, model: string): ChatCompleter {
  const path = "/v1/chat/completions";
  return {
    async complete(messages, settings, signal) {
      const stop = settings.stop.slice(0, maxChatStops);
      const body = { model, messages, ...bodyOf(settings), stop };
      const answer = await channel.post(path, body, { needs: "Generating needs chat completions.", signal });
      return readChoice(
        answer,
        ({ message }) => (isRow(message) ? (message["content"] ?? "") : undefined),
        channel.urlOf(path),
      );
    },
  };
}

function bodyOf({ maxTokens, temperature, topP, seed }: CompletionSettings): Record<string, number> {
  return { max_tokens: maxTokens, temperature, seed, ...(temperature === 0 ? {} : { top_p: topP }) };
}

type Row = Readonly<Record<string, unknown>>;

function readChoice(answer: unknown, textOf: (choice: Row) => unknown, url: string): Completion {
  const choices = isRow(answer) ? answer["choices"] : undefined;
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  const text = isRow(choice) ? textOf(choice) : undefined;
  if (!isRow(choice) || typeof text !== "string") {
    throw new MillraceError(
      "endpoint_failed",
      `The answer of ${url} has no text. An OpenAI-compatible completion is needed. Look at the server's log.`,
    );
  }
  return {
    text,
    finishReason: choice["finish_reason"] === "length" ? "length" : "stop",
    ...promptUsageOf(answer),
  };
}

function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
