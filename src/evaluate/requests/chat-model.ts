import { MillraceError } from "../../base/errors.ts";
import type { ChatCompleter } from "../../protocol/completer.ts";
import type { ChatMessage } from "../../tokenizer/tokenizer.ts";
import type { Answer, LanguageModel, ModelRequest, PreparedRequest, PromptTokens } from "./model-request.ts";
import { PromptTokenCount } from "./prompt-token-count.ts";
import { answerOf } from "./token-model.ts";

/** A model that is asked in chat messages: only tasks whose answers are written can run on it. */
export class ChatModel implements LanguageModel {
  readonly renderChat = null;
  readonly maxLength: number;
  readonly #complete: ChatCompleter["complete"];
  readonly #promptTokens = new PromptTokenCount();

  constructor(completer: ChatCompleter, maxLength: number) {
    this.#complete = this.#promptTokens.counted((...asked) => completer.complete(...asked));
    this.maxLength = maxLength;
  }

  get promptTokens(): PromptTokens | undefined {
    return this.#promptTokens.total;
  }

  prepare(request: ModelRequest): PreparedRequest {
    if (request.kind !== "generation") {
      throw new MillraceError(
        "evaluation_unsupported",
        "A chat endpoint gives no log-likelihoods of a prompt, and a chosen task needs them. Choose tasks of kind generate_until, or leave out --chat.",
        { param: "--chat" },
      );
    }
    const { prompt, limits } = request;
    const messages: readonly ChatMessage[] =
      typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt;
    const settings = {
      stop: limits.until,
      stopTokenIds: [],
      maxTokens: limits.maxNewTokens,
      temperature: limits.temperature,
      topP: limits.topP,
      seed: limits.seed,
    };
    return {
      size: messages.reduce((size, { content }) => size + (content ?? "").length, 0),
      send: async (signal): Promise<Answer> => {
        const { text, finishReason } = await this.#complete(messages, settings, signal);
        return answerOf(text, finishReason, limits);
      },
    };
  }
}
