import type { SequenceEvent } from "../run-sequences.ts";
import type { ServedModel } from "../served-model.ts";
import { encodeChat } from "./chat-prompt.ts";
import { demand } from "./field-errors.ts";
import { type Dialect, generationHandler, type Question, type Request, type Wording } from "./generation.ts";
import { type ChatTokenLogprobs, chatLogprobs, type PromptLogprobsBody } from "./logprobs.ts";
import type { OutputLimit } from "./prompts.ts";
import { type ChatBody, chatSchema } from "./schemas.ts";

interface ChunkChoice {
  readonly index: number;
  readonly delta: { readonly role?: "assistant"; readonly content?: string };
  readonly logprobs: { readonly content: readonly ChatTokenLogprobs[] } | null;
  readonly finish_reason: string | null;
  readonly stop_reason?: string | number | null;
  readonly token_ids?: readonly number[];
}

interface ChatChunk {
  readonly choices: readonly [ChunkChoice];
  readonly prompt_token_ids?: readonly number[];
}

interface ChatChoice {
  readonly index: number;
  readonly message: { readonly role: "assistant"; content: string; readonly refusal: null };
  readonly logprobs: { readonly content: ChatTokenLogprobs[] } | null;
  finish_reason: string | null;
  stop_reason: string | number | null;
  readonly token_ids?: number[];
}

const dialect: Dialect<ChatBody, ChatChunk> = {
  schema: chatSchema,
  idPrefix: "chatcmpl",
  objects: { whole: "chat.completion", chunk: "chat.completion.chunk" },
  ask: askChat,
  word: (request) => new ChatWording(request),
};

/** `POST /v1/chat/completions`. */
export const handleChat = generationHandler(dialect);

function askChat(body: ChatBody, model: ServedModel): Question {
  const limit = readLimit(body);
  const logprobs = readLogprobs(body);
  const tokenIds = encodeChat(body.messages, body, model);
  return { prompts: [{ param: "messages", text: null, tokenIds }], limit, logprobs };
}

function readLimit(body: ChatBody): OutputLimit {
  const isNew = typeof body.max_completion_tokens === "number";
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? null;
  if (maxTokens === null) return { maxTokens, param: null };
  const isOne = !isNew || maxTokens === (body.max_tokens ?? maxTokens);
  demand(isOne, "max_tokens", body.max_tokens, `left out, or equal to max_completion_tokens (${maxTokens})`);
  return { maxTokens, param: isNew ? "max_completion_tokens" : "max_tokens" };
}

function readLogprobs(body: ChatBody): number | null {
  const top = body.top_logprobs ?? 0;
  demand(top === 0 || body.logprobs === true, "top_logprobs", top, "left out unless logprobs is true");
  return body.logprobs === true ? top : null;
}

/** Chunks: the role, then the text as it comes, then the reason of the end. */
class ChatWording implements Wording<ChatChunk> {
  readonly #request: Request<ChatBody>;
  readonly #isStarted: boolean[];
  readonly #choices: ChatChoice[];

  constructor(request: Request<ChatBody>) {
    this.#request = request;
    const { plan, delivery } = request;
    this.#isStarted = Array.from({ length: plan.n }, () => false);
    this.#choices = this.#isStarted.map((_, index) => ({
      index,
      message: { role: "assistant", content: "", refusal: null },
      logprobs: plan.sampling.logprobs === null ? null : { content: [] },
      finish_reason: null,
      stop_reason: null,
      ...(delivery.returnTokenIds ? { token_ids: [] } : {}),
    }));
  }

  chunks({ index, delta }: SequenceEvent): ChatChunk[] {
    const { returnTokenIds, continuousUsage } = this.#request.delivery;
    const chunks: ChatChunk[] = [];
    if (this.#isStarted[index] === false) {
      this.#isStarted[index] = true;
      const start = { role: "assistant", content: "" } as const;
      chunks.push({
        choices: [{ index, delta: start, logprobs: null, finish_reason: null }],
        ...this.#promptTokenIds(),
      });
    }
    const showsTokens = delta.logprobs !== null || returnTokenIds || continuousUsage;
    if (delta.text !== "" || (delta.tokenIds.length > 0 && showsTokens)) {
      const tokenIds = returnTokenIds ? { token_ids: delta.tokenIds } : {};
      const logprobs = delta.logprobs === null ? null : { content: this.#logprobs(delta) };
      const content = delta.text;
      chunks.push({ choices: [{ index, delta: { content }, logprobs, finish_reason: null, ...tokenIds }] });
    }
    if (delta.finishReason !== null) {
      const end = { finish_reason: delta.finishReason, stop_reason: delta.stopReason };
      chunks.push({ choices: [{ index, delta: {}, logprobs: null, ...end }] });
    }
    return chunks;
  }

  add({ choices: [piece] }: ChatChunk): void {
    const choice = this.#choices[piece.index]!;
    choice.message.content += piece.delta.content ?? "";
    choice.logprobs?.content.push(...(piece.logprobs?.content ?? []));
    choice.token_ids?.push(...(piece.token_ids ?? []));
    choice.finish_reason = piece.finish_reason;
    choice.stop_reason = piece.stop_reason ?? null;
  }

  whole(promptLogprobs: readonly PromptLogprobsBody[] | null): object {
    const scores = promptLogprobs === null ? {} : { prompt_logprobs: promptLogprobs[0] };
    return { choices: this.#choices, ...this.#promptTokenIds(), ...scores };
  }

  #promptTokenIds(): { readonly prompt_token_ids?: readonly number[] } {
    const { prompts, delivery } = this.#request;
    return delivery.returnTokenIds ? { prompt_token_ids: prompts[0]!.tokenIds } : {};
  }

  #logprobs(delta: SequenceEvent["delta"]): ChatTokenLogprobs[] {
    if (delta.logprobs === null) return [];
    return chatLogprobs(this.#request.model.tokenizer, delta.tokenIds, delta.logprobs);
  }
}
