import { maxLogprobs } from "../../protocol/sampling-params.ts";
import type { TextUsage } from "../../text/text-generator.ts";
import type { EventSink } from "../event-sink.ts";
import { type HttpContext, readJsonObject } from "../http-context.ts";
import { runSequences, type SequenceEvent } from "../run-sequences.ts";
import type { ServedModel } from "../served-model.ts";
import type { ServerContext } from "../server-context.ts";
import {
  type AnswerHead,
  answerHead,
  type Delivery,
  deliver,
  deliveryOf,
  sumUsage,
  type UsageBody,
} from "./answer.ts";
import { encodeChat } from "./chat-prompt.ts";
import { checkFields, warningsHeader } from "./field-support.ts";
import { type ChatTokenLogprobs, chatLogprobs } from "./logprobs.ts";
import { checkContext } from "./prompts.ts";
import {
  checkStreamOptions,
  demand,
  planSequences,
  type SequencePlan,
  samplingOfChoice,
} from "./sampling.ts";
import { type ChatBody, chatSchema, parseBody } from "./schemas.ts";

const knownFields: ReadonlySet<string> = new Set(Object.keys(chatSchema.shape));

/** `POST /v1/chat/completions`. */
export async function handleChat(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const raw = await readJsonObject(c, context.maxBodyBytes);
  const warnings = warningsHeader(checkFields(raw, knownFields, context));
  if (warnings !== undefined) c.get("headers")["x-millrace-warnings"] = warnings;
  const body = parseBody(chatSchema, raw);
  const model = registry.resolve(body.model);
  const chat = planChat(body, model, context);
  context.metrics.observeN(model, chat.plan.n);
  return deliver(c, context, chat.delivery.isStream, {
    whole: (signal) => chat.whole(signal),
    stream: (signal, sink) => chat.stream(signal, sink),
  });
}

function planChat(body: ChatBody, model: ServedModel, context: ServerContext): Chat {
  checkStreamOptions(body);
  const promptTokenIds = encodeChat(body.messages, body, model);
  const asked = body.max_completion_tokens ?? body.max_tokens;
  const param = typeof body.max_completion_tokens === "number" ? "max_completion_tokens" : "max_tokens";
  if (typeof asked === "number") demand(asked >= 1, param, asked, "at least 1");
  checkContext(promptTokenIds.length, asked ?? 1, model);
  const maxTokens = asked ?? model.client.info.maxModelLen - promptTokenIds.length;
  const plan = planSequences(body, model, maxTokens, readLogprobs(body));
  return new Chat(model, context, promptTokenIds, plan, {
    ...deliveryOf(body),
    returnTokenIds: body.return_token_ids ?? false,
  });
}

function readLogprobs(body: ChatBody): number | null {
  const top = body.top_logprobs ?? 0;
  demand(top >= 0 && top <= maxLogprobs, "top_logprobs", top, `from 0 to ${maxLogprobs}`);
  demand(top === 0 || body.logprobs === true, "top_logprobs", top, "left out unless logprobs is true");
  return body.logprobs === true ? top : null;
}

interface ChatDelivery extends Delivery {
  readonly returnTokenIds: boolean;
}

interface ChatChoice {
  readonly index: number;
  readonly message: { readonly role: "assistant"; content: string; readonly refusal: null };
  logprobs: { readonly content: ChatTokenLogprobs[] } | null;
  finish_reason: string | null;
  stop_reason: string | number | null;
  token_ids?: number[];
}

/** One chat request on its way. */
class Chat {
  readonly plan: SequencePlan;
  readonly delivery: ChatDelivery;
  readonly #model: ServedModel;
  readonly #context: ServerContext;
  readonly #promptTokenIds: readonly number[];
  readonly #head: AnswerHead;
  readonly #usage: TextUsage[];

  constructor(
    model: ServedModel,
    context: ServerContext,
    promptTokenIds: readonly number[],
    plan: SequencePlan,
    delivery: ChatDelivery,
  ) {
    this.#model = model;
    this.#context = context;
    this.#promptTokenIds = promptTokenIds;
    this.plan = plan;
    this.delivery = delivery;
    const object = delivery.isStream ? "chat.completion.chunk" : "chat.completion";
    this.#head = answerHead("chatcmpl", object, model);
    this.#usage = Array.from({ length: plan.n }, () => ({
      promptTokens: 0,
      completionTokens: 0,
      cachedTokens: 0,
    }));
  }

  async whole(signal: AbortSignal): Promise<unknown> {
    const { returnTokenIds } = this.delivery;
    const choices = this.#usage.map(
      (_, index): ChatChoice => ({
        index,
        message: { role: "assistant", content: "", refusal: null },
        logprobs: this.plan.sampling.logprobs === null ? null : { content: [] },
        finish_reason: null,
        stop_reason: null,
        ...(returnTokenIds ? { token_ids: [] } : {}),
      }),
    );
    await this.#run(signal, ({ index, delta }) => {
      const choice = choices[index]!;
      choice.message.content += delta.text;
      choice.logprobs?.content.push(...this.#logprobs(delta));
      choice.finish_reason = delta.finishReason;
      choice.stop_reason = delta.stopReason;
      choice.token_ids?.push(...delta.tokenIds);
    });
    const prompt = returnTokenIds ? { prompt_token_ids: this.#promptTokenIds } : {};
    return { ...this.#head, choices, usage: this.#sumUsage(), ...prompt };
  }

  async stream(signal: AbortSignal, sink: EventSink): Promise<void> {
    const isStarted = this.#usage.map(() => false);
    await this.#run(signal, (event) => {
      if (isStarted[event.index] === false) {
        isStarted[event.index] = true;
        this.#sendRole(event.index, sink);
      }
      this.#sendDelta(event, sink);
      return sink.pressure();
    });
    if (!this.delivery.includeUsage) return;
    sink.send(JSON.stringify({ ...this.#head, choices: [], usage: this.#sumUsage() }));
  }

  #sendRole(index: number, sink: EventSink): void {
    const choice = { index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null };
    const prompt = this.delivery.returnTokenIds ? { prompt_token_ids: this.#promptTokenIds } : {};
    sink.send(JSON.stringify({ ...this.#head, choices: [choice], ...this.#chunkUsage(), ...prompt }));
  }

  #sendDelta({ index, delta }: SequenceEvent, sink: EventSink): void {
    const { returnTokenIds, continuousUsage } = this.delivery;
    const hasTokens = delta.tokenIds.length > 0;
    if (delta.text !== "" || (hasTokens && (delta.logprobs !== null || returnTokenIds || continuousUsage))) {
      const choice = {
        index,
        delta: { content: delta.text },
        logprobs: delta.logprobs === null ? null : { content: this.#logprobs(delta) },
        finish_reason: null,
        ...(returnTokenIds ? { token_ids: delta.tokenIds } : {}),
      };
      sink.send(JSON.stringify({ ...this.#head, choices: [choice], ...this.#chunkUsage() }));
    }
    if (delta.finishReason === null) return;
    const end = { finish_reason: delta.finishReason, stop_reason: delta.stopReason };
    const choice = { index, delta: {}, logprobs: null, ...end };
    sink.send(JSON.stringify({ ...this.#head, choices: [choice], ...this.#chunkUsage() }));
  }

  #chunkUsage(): { usage?: UsageBody | null } {
    if (this.delivery.continuousUsage) return { usage: this.#sumUsage() };
    return this.delivery.includeUsage ? { usage: null } : {};
  }

  #sumUsage(): UsageBody {
    return sumUsage([this.#promptTokenIds.length], this.#usage, this.plan.n);
  }

  #logprobs(delta: SequenceEvent["delta"]): ChatTokenLogprobs[] {
    if (delta.logprobs === null) return [];
    return chatLogprobs(this.#model.tokenizer, delta.tokenIds, delta.logprobs);
  }

  async #run(signal: AbortSignal, onEvent: (event: SequenceEvent) => void | Promise<void>): Promise<void> {
    const { sampling, stop, includeStopInOutput, skipSpecialTokens } = this.plan;
    await runSequences({
      model: this.#model,
      metrics: this.#context.metrics,
      requestId: this.#head.id,
      sequences: this.#usage.map((_, index) => ({
        promptTokenIds: this.#promptTokenIds,
        sampling: samplingOfChoice(sampling, index),
        stop,
        includeStopInOutput,
        skipSpecialTokens,
      })),
      signal,
      onEvent: (event) => {
        this.#usage[event.index] = event.usage;
        return onEvent(event);
      },
    });
  }
}
