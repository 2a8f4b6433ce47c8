import { randomUUID } from "node:crypto";
import { MillraceError } from "../../base/errors.ts";
import type { FinishReason } from "../../protocol/engine-client.ts";
import type { ChatMessage } from "../../tokenizer/tokenizer.ts";
import type { Answer, Exchange, ServerContext } from "../context.ts";
import { type ChoiceEvent, type ChoicePlan, Generation } from "../generation.ts";
import type { ServedModel } from "../served-model.ts";
import { answerStream, answerWhole, type Dialect, headersFor } from "./answer.ts";
import { chatLogprobs } from "./logprobs.ts";
import { readBody } from "./read-body.ts";
import { roomAfter, samplingOf, stopStringsOf } from "./sampling.ts";
import { type ChatBody, chatSchema } from "./schemas.ts";
import { usageObject } from "./usage.ts";

/** POST /v1/chat/completions. */
export async function chatCompletions(context: ServerContext, exchange: Exchange): Promise<Answer> {
  const { body, unknownFields } = readBody(exchange.text, chatSchema, context.isStrict);
  const model = context.models.find(body.model ?? undefined);
  if (body.top_logprobs != null && body.top_logprobs > 0 && body.logprobs !== true) {
    throw new MillraceError("invalid_request", "top_logprobs needs logprobs: true.", { param: "top_logprobs" });
  }
  const plans = plansOf(body, model);
  const generation = new Generation(model, plans, context.metrics);
  const dialect = new ChatDialect(context, model, body, generation);
  const headers = headersFor(unknownFields);
  if (body.stream === true) return answerStream(generation, dialect, exchange, { headers, context });
  return answerWhole(generation, dialect, exchange, headers);
}

/** The prompt of a conversation as token ids. The template writes the start token itself where it wants one. */
export function renderChat(body: Pick<ChatBody, "messages" | "chat_template_kwargs" | "add_generation_prompt">, model: ServedModel): number[] {
  const template = model.tokenizer.chatTemplate;
  if (template === null) {
    throw new MillraceError(
      "no_chat_template",
      `The model ${model.id} has no chat template. Use /v1/completions, or start the server with --chat-template FILE.`,
      { param: "messages" },
    );
  }
  const messages = body.messages.map((message, index): ChatMessage => ({ ...message, content: textOf(message.content, index) }));
  const text = template.render(messages, {
    addGenerationPrompt: body.add_generation_prompt ?? true,
    ...(body.chat_template_kwargs == null ? {} : { variables: body.chat_template_kwargs }),
  });
  return model.tokenizer.encode(text, { addSpecialTokens: false });
}

function textOf(content: ChatBody["messages"][number]["content"], index: number): string | null {
  if (content == null || typeof content === "string") return content ?? null;
  return content
    .map((part, place) => {
      if (part.type === "text" && part.text !== undefined) return part.text;
      throw new MillraceError(
        "invalid_request",
        `messages[${index}].content[${place}] has type "${part.type}"; this model takes text parts only.`,
        { param: `messages[${index}].content[${place}]` },
      );
    })
    .join("");
}

function plansOf(body: ChatBody, model: ServedModel): ChoicePlan[] {
  const promptTokenIds = renderChat(body, model);
  const room = roomAfter(model, promptTokenIds.length);
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? room;
  const logprobs = body.logprobs === true ? (body.top_logprobs ?? 0) : null;
  const sampling = samplingOf(body, model, { maxTokens, logprobs });
  return Array.from({ length: body.n ?? 1 }, (_, index) => ({
    promptTokenIds,
    sampling: sampling.seed === null ? sampling : { ...sampling, seed: BigInt.asUintN(64, sampling.seed + BigInt(index)) },
    stop: stopStringsOf(body.stop),
    includeStopInOutput: body.include_stop_str_in_output ?? false,
    skipSpecialTokens: body.skip_special_tokens ?? true,
  }));
}

/** One choice while it is collected. */
interface CollectedChoice {
  text: string;
  readonly tokenIds: number[];
  readonly logprobs: Record<string, unknown>[];
  finishReason: FinishReason | null;
  stopReason: string | number | null;
}

class ChatDialect implements Dialect {
  readonly #context: ServerContext;
  readonly #model: ServedModel;
  readonly #body: ChatBody;
  readonly #generation: Generation;
  readonly #head: { readonly id: string; readonly created: number; readonly model: string };
  readonly #choices: CollectedChoice[];

  constructor(context: ServerContext, model: ServedModel, body: ChatBody, generation: Generation) {
    this.#context = context;
    this.#model = model;
    this.#body = body;
    this.#generation = generation;
    this.#head = {
      id: `chatcmpl-${randomUUID().replaceAll("-", "")}`,
      created: Math.floor(Date.now() / 1000),
      model: model.id,
    };
    this.#choices = Array.from({ length: body.n ?? 1 }, () => ({
      text: "",
      tokenIds: [],
      logprobs: [],
      finishReason: null,
      stopReason: null,
    }));
  }

  opening(): readonly unknown[] {
    return this.#choices.map((_, index) =>
      this.#chunk({ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }),
    );
  }

  chunks({ index, delta }: ChoiceEvent): readonly unknown[] {
    const chunks: Record<string, unknown>[] = [];
    if (delta.text !== "" || (delta.logprobs?.length ?? 0) > 0) {
      const logprobs = this.#logprobsOf(delta.tokenIds, delta.logprobs);
      const ids = this.#body.return_token_ids === true ? { token_ids: delta.tokenIds } : {};
      chunks.push(this.#chunk({ index, delta: { content: delta.text }, logprobs, finish_reason: null, ...ids }));
    }
    if (delta.finishReason !== null) {
      const { finishReason: finish_reason, stopReason: stop_reason } = delta;
      chunks.push(this.#chunk({ index, delta: {}, logprobs: null, finish_reason, stop_reason }));
    }
    if (this.#body.stream_options?.continuous_usage_stats === true) {
      for (const chunk of chunks) chunk["usage"] = this.#usage();
    }
    return chunks;
  }

  closing(): readonly unknown[] {
    if (this.#body.stream_options?.include_usage !== true) return [];
    const system_fingerprint = this.#context.fingerprint;
    return [{ ...this.#head, object: "chat.completion.chunk", system_fingerprint, choices: [], usage: this.#usage() }];
  }

  collect({ index, delta }: ChoiceEvent): void {
    const choice = this.#choices[index]!;
    choice.text += delta.text;
    choice.tokenIds.push(...delta.tokenIds);
    if (delta.logprobs !== null) {
      choice.logprobs.push(...chatLogprobs(this.#model.tokenizer, delta.tokenIds, delta.logprobs));
    }
    choice.finishReason = delta.finishReason ?? choice.finishReason;
    choice.stopReason = delta.stopReason ?? choice.stopReason;
  }

  whole(): unknown {
    const choices = this.#choices.map((choice, index) => ({
      index,
      message: { role: "assistant", content: choice.text, refusal: null },
      logprobs: this.#body.logprobs === true ? { content: choice.logprobs } : null,
      finish_reason: choice.finishReason,
      stop_reason: choice.stopReason,
      ...(this.#body.return_token_ids === true ? { token_ids: choice.tokenIds } : {}),
    }));
    const system_fingerprint = this.#context.fingerprint;
    return { ...this.#head, object: "chat.completion", system_fingerprint, choices, usage: this.#usage() };
  }

  #logprobsOf(ids: readonly number[], entries: ChoiceEvent["delta"]["logprobs"]): unknown {
    if (this.#body.logprobs !== true || entries === null) return null;
    return { content: chatLogprobs(this.#model.tokenizer, ids, entries) };
  }

  #chunk(choice: Record<string, unknown>): Record<string, unknown> {
    return { ...this.#head, object: "chat.completion.chunk", choices: [choice] };
  }

  #usage(): unknown {
    return usageObject(this.#generation.usage(this.#choices.length));
  }
}
