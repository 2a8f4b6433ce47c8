import type { TextUsage } from "../../text/text-generator.ts";
import { type AnswerBlock, AnswerBlocks, type AnswerEvent } from "../generation/answer-blocks.ts";
import type { Request, Totals, Wording } from "../generation/dialect.ts";
import type { StreamEvent } from "../generation/event-sink.ts";
import type { SequenceEvent } from "../generation/run-sequences.ts";
import type { ChatAnswerRules } from "../request/answer-rules.ts";
import type { ChatBody } from "../request/schemas.ts";
import { messageErrorBody } from "./errors.ts";

/** One event of a stream; its type is its name too. */
export interface MessageEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

interface MessageEnd {
  readonly stop_reason: "end_turn" | "max_tokens" | "stop_sequence" | "tool_use" | null;
  readonly stop_sequence: string | null;
}

/** An answer as Anthropic's message: blocks of text, thinking and tool_use. */
export class MessageWording implements Wording<MessageEvent> {
  readonly #request: Request<ChatBody>;
  readonly #answer: AnswerBlocks;
  #isStarted = false;
  #end: MessageEnd = { stop_reason: null, stop_sequence: null };

  constructor(request: Request<ChatBody>, rules: ChatAnswerRules) {
    this.#request = request;
    this.#answer = new AnswerBlocks(rules, request.body.include_reasoning === false);
  }

  chunks({ delta, usage }: SequenceEvent): MessageEvent[] {
    const events: MessageEvent[] = [];
    if (!this.#isStarted) {
      this.#isStarted = true;
      events.push({ type: "message_start", message: this.#message([], { ...usage, completionTokens: 0 }) });
    }
    events.push(...this.#answer.read(delta).map(blockEvent));
    if (delta.finishReason === null) return events;
    this.#end = endOf(delta, this.#answer.numCalls > 0);
    events.push({ type: "message_delta", delta: this.#end, usage: usageBody(usage) });
    return events;
  }

  whole({ usage }: Totals): object {
    return this.#message(this.#answer.blocks.map(contentOf), usage);
  }

  event(event: MessageEvent): StreamEvent {
    return { name: event.type, data: event };
  }

  closing(): StreamEvent[] {
    return [this.event({ type: "message_stop" })];
  }

  failure(error: unknown): StreamEvent[] {
    const body = messageErrorBody(error, this.#request.id);
    return [{ name: body.type, data: body }];
  }

  #message(content: readonly object[], usage: TextUsage): object {
    return {
      id: this.#request.id,
      type: "message",
      role: "assistant",
      model: this.#request.model.id,
      content,
      ...this.#end,
      usage: usageBody(usage),
    };
  }
}

/** What came from the cache is counted apart from the other tokens of the prompt. */
function usageBody({ promptTokens, completionTokens, cachedTokens }: TextUsage): object {
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: completionTokens,
  };
}

function endOf({ finishReason, stopReason }: SequenceEvent["delta"], hasCalls: boolean): MessageEnd {
  const stop = typeof stopReason === "string" ? stopReason : null;
  if (finishReason === "length") return { stop_reason: "max_tokens", stop_sequence: null };
  if (finishReason !== "stop") return { stop_reason: null, stop_sequence: null };
  if (hasCalls) return { stop_reason: "tool_use", stop_sequence: null };
  return { stop_reason: stop === null ? "end_turn" : "stop_sequence", stop_sequence: stop };
}

function blockEvent(event: AnswerEvent): MessageEvent {
  const { block } = event;
  const { index } = block;
  switch (event.kind) {
    case "open":
      return { type: "content_block_start", index, content_block: contentOf({ ...block, text: "" }) };
    case "grow":
      return { type: "content_block_delta", index, delta: deltaOf(block, event.text) };
    case "close":
      return { type: "content_block_stop", index };
  }
}

function deltaOf({ kind }: AnswerBlock, text: string): object {
  switch (kind) {
    case "text":
      return { type: "text_delta", text };
    case "reasoning":
      return { type: "thinking_delta", thinking: text };
    case "call":
      return { type: "input_json_delta", partial_json: text };
  }
}

function contentOf(block: AnswerBlock): object {
  const { kind, text } = block;
  switch (kind) {
    case "text":
      return { type: "text", text };
    case "reasoning":
      // Signatures let a server know its own thinking again; this one takes back any.
      return { type: "thinking", thinking: text, signature: "" };
    case "call":
      return { type: "tool_use", id: `toolu_${block.key}`, name: block.name, ...inputOf(text) };
  }
}

/** Arguments that `max_tokens` has cut, or that are no object, stay what they are: text. */
function inputOf(text: string): { readonly input: object; readonly partial_json?: string } {
  if (text === "") return { input: {} };
  try {
    const input: unknown = JSON.parse(text);
    if (typeof input === "object" && input !== null && !Array.isArray(input)) return { input };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { input: {}, partial_json: text };
}
