import { randomUUID } from "node:crypto";
import { ChatParser } from "../../text/chat-output/chat-parser.ts";
import type { ChatPart } from "../../text/chat-output/chat-part.ts";
import { countTokens } from "../generation/count-tokens.ts";
import type { Dialect, Request } from "../generation/dialect.ts";
import { generationHandler } from "../generation/generation.ts";
import type { SequenceEvent } from "../generation/run-sequences.ts";
import { type ChatTokenLogprobs, chatLogprobs } from "../generation/token-logprobs.ts";
import { type ChatAnswerRules } from "../request/answer-rules.ts";
import { askChat, type ChatQuestion } from "../request/chat-question.ts";
import { openAiFields } from "../request/field-support.ts";
import { type ChatBody, chatSchema } from "../request/schemas.ts";
import type { PromptLogprobsBody } from "./logprobs.ts";
import { OpenAiWording } from "./wording.ts";

interface CallBody {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; arguments: string };
}

/** A part of a message. Reasoning goes by two names: clients of different age read one of them. */
interface DeltaBody {
  readonly role?: "assistant";
  readonly content?: string;
  readonly reasoning?: string;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly [
    | ({ readonly index: number } & CallBody)
    | { readonly index: number; readonly function: { readonly arguments: string } },
  ];
}

interface ChunkChoice {
  readonly index: number;
  readonly delta: DeltaBody;
  readonly logprobs: { readonly content: readonly ChatTokenLogprobs[] } | null;
  readonly finish_reason: string | null;
  readonly stop_reason?: string | number | null;
  readonly token_ids?: readonly number[];
}

interface ChatChunk {
  readonly choices: readonly [ChunkChoice];
  readonly prompt_token_ids?: readonly number[];
}

interface MessageOfAnswer {
  readonly role: "assistant";
  content: string;
  readonly refusal: null;
  reasoning?: string;
  reasoning_content?: string;
  tool_calls?: CallBody[];
}

interface ChatChoice {
  readonly index: number;
  readonly message: MessageOfAnswer;
  readonly logprobs: { readonly content: ChatTokenLogprobs[] } | null;
  finish_reason: string | null;
  stop_reason: string | number | null;
  readonly token_ids?: number[];
}

const dialect: Dialect<ChatBody, ChatBody, ChatChunk, ChatQuestion> = {
  schema: chatSchema,
  fields: openAiFields,
  idPrefix: "chatcmpl-",
  translate: (body) => body,
  ask: askChat,
  word: (request, { rules }) => new ChatWording(request, rules),
};

/** `POST /v1/chat/completions`. */
export const handleChat = generationHandler(dialect);

/** Chunks: the role, then what the answer holds as it comes, then the reason of the end. */
class ChatWording extends OpenAiWording<ChatBody, ChatChunk> {
  readonly #rules: ChatAnswerRules;
  readonly #parsers: ChatParser[];
  readonly #isStarted: boolean[];
  readonly #choices: ChatChoice[];
  /** What each choice has thought so far, shown or not. */
  readonly #thoughts: string[];

  constructor(request: Request<ChatBody>, rules: ChatAnswerRules) {
    super(request, { whole: "chat.completion", chunk: "chat.completion.chunk" });
    this.#rules = rules;
    const { plan, delivery } = request;
    this.#isStarted = Array.from({ length: plan.n }, () => false);
    this.#thoughts = this.#isStarted.map(() => "");
    this.#parsers = this.#isStarted.map(() => new ChatParser(this.#rules));
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
    const { returnTokenIds, continuousUsage } = this.request.delivery;
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
    const deltas = this.#deltas(index, delta);
    if (deltas.length === 0 && delta.tokenIds.length > 0 && showsTokens) deltas.push({ content: "" });
    for (const [at, part] of deltas.entries()) {
      // What belongs to the tokens goes with the first part.
      const tokenIds = returnTokenIds ? { token_ids: at === 0 ? delta.tokenIds : [] } : {};
      const content = at === 0 ? this.#logprobs(delta) : [];
      const logprobs = delta.logprobs === null ? null : { content };
      chunks.push({ choices: [{ index, delta: part, logprobs, finish_reason: null, ...tokenIds }] });
    }
    if (delta.finishReason !== null) {
      const end = { finish_reason: this.#reasonOf(index, delta), stop_reason: delta.stopReason };
      chunks.push({ choices: [{ index, delta: {}, logprobs: null, ...end }] });
    }
    return chunks;
  }

  #deltas(index: number, { text, finishReason }: SequenceEvent["delta"]): DeltaBody[] {
    const parser = this.#parsers[index]!;
    const parts = text === "" ? [] : parser.push(text);
    if (finishReason !== null) parts.push(...parser.flush());
    for (const part of parts) if (part.kind === "reasoning") this.#thoughts[index]! += part.text;
    const hidesReasoning = this.request.body.include_reasoning === false;
    return parts.filter(({ kind }) => kind !== "reasoning" || !hidesReasoning).map(deltaOf);
  }

  /** A tool that the request itself named leaves the reason as it is, as OpenAI has it. */
  #reasonOf(index: number, { finishReason }: SequenceEvent["delta"]): string | null {
    const { calls } = this.#rules;
    const isCall = calls !== null && !("named" in calls) && this.#parsers[index]!.numCalls > 0;
    return isCall && finishReason === "stop" ? "tool_calls" : finishReason;
  }

  add({ choices: [piece] }: ChatChunk): void {
    const choice = this.#choices[piece.index]!;
    addToMessage(choice.message, piece.delta);
    choice.logprobs?.content.push(...(piece.logprobs?.content ?? []));
    choice.token_ids?.push(...(piece.token_ids ?? []));
    choice.finish_reason = piece.finish_reason;
    choice.stop_reason = piece.stop_reason ?? null;
  }

  protected choices(promptLogprobs: readonly PromptLogprobsBody[] | null): object {
    const scores = promptLogprobs === null ? {} : { prompt_logprobs: promptLogprobs[0] };
    const choices = this.#choices.map(({ message, ...choice }) => ({
      ...choice,
      message: messageOf(message),
    }));
    return { choices, ...this.#promptTokenIds(), ...scores };
  }

  protected override numReasoningTokens(): number | null {
    if (this.#rules.reasoning === null) return null;
    const { tokenizer } = this.request.model;
    const counts = this.#thoughts.map((text) => countTokens(tokenizer, text));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  #promptTokenIds(): { readonly prompt_token_ids?: readonly number[] } {
    const { prompts, delivery } = this.request;
    return delivery.returnTokenIds ? { prompt_token_ids: prompts[0]!.tokenIds } : {};
  }

  #logprobs(delta: SequenceEvent["delta"]): ChatTokenLogprobs[] {
    if (delta.logprobs === null) return [];
    return chatLogprobs(this.request.model.tokenizer, delta.tokenIds, delta.logprobs);
  }
}

function deltaOf(part: ChatPart): DeltaBody {
  switch (part.kind) {
    case "content":
      return { content: part.text };
    case "reasoning":
      return { reasoning: part.text, reasoning_content: part.text };
    case "call": {
      const id = `call_${randomUUID().replaceAll("-", "")}`;
      const called = { name: part.name, arguments: "" };
      return { tool_calls: [{ index: part.index, id, type: "function", function: called }] };
    }
    case "arguments":
      return { tool_calls: [{ index: part.index, function: { arguments: part.text } }] };
  }
}

function addToMessage(message: MessageOfAnswer, delta: DeltaBody): void {
  message.content += delta.content ?? "";
  if (delta.reasoning !== undefined) {
    message.reasoning = (message.reasoning ?? "") + delta.reasoning;
    message.reasoning_content = message.reasoning;
  }
  for (const { index, ...call } of delta.tool_calls ?? []) {
    message.tool_calls ??= [];
    if ("id" in call) message.tool_calls[index] = { ...call, function: { ...call.function } };
    else message.tool_calls[index]!.function.arguments += call.function.arguments;
  }
}

/** Where there are calls and nothing else, the content is null. */
function messageOf(message: MessageOfAnswer): object {
  return message.tool_calls !== undefined && message.content === "" ? { ...message, content: null } : message;
}
