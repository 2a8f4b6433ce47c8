import type { AnswerBlock, AnswerEvent } from "../generation/answer-blocks.ts";
import type { ChatTokenLogprobs } from "../generation/token-logprobs.ts";

/** One event of a stream, without its number; its type is its name too. */
export interface ResponseEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

export type ItemStatus = "in_progress" | "completed" | "incomplete";

const idPrefixes = { text: "msg_", reasoning: "rs_", call: "fc_" } as const;

function itemId({ kind, key }: AnswerBlock): string {
  return idPrefixes[kind] + key;
}

/** Log-probabilities of the tokens of a text. */
export type Logprobs = readonly ChatTokenLogprobs[];

/** A block as an item of `output`. */
export function itemOf(block: AnswerBlock, status: ItemStatus, logprobs: Logprobs): object {
  const id = itemId(block);
  const content = block.text === "" ? [] : [partOf(block, logprobs)];
  switch (block.kind) {
    case "text":
      return { id, type: "message", status, role: "assistant", content };
    case "reasoning":
      return { id, type: "reasoning", status, summary: [], content };
    case "call": {
      const { name, text } = block;
      return { id, type: "function_call", status, call_id: `call_${block.key}`, name, arguments: text };
    }
  }
}

function partOf({ kind, text }: AnswerBlock, logprobs: Logprobs): object {
  return kind === "text"
    ? { type: "output_text", text, annotations: [], logprobs }
    : { type: "reasoning_text", text };
}

/**
 * What a stream says of one event; text and reasoning are one part of their item each.
 *
 * @param logprobs of what the event brings, or of the whole block where it closes
 */
export function itemEvents(event: AnswerEvent, status: ItemStatus, logprobs: Logprobs): ResponseEvent[] {
  const { kind, block } = event;
  const output_index = block.index;
  const place = { item_id: itemId(block), output_index };
  const isCall = block.kind === "call";
  if (kind === "open") {
    const empty = { ...block, text: "" };
    const added = {
      type: "response.output_item.added",
      output_index,
      item: itemOf(empty, "in_progress", []),
    };
    if (isCall) return [added];
    return [
      added,
      { type: "response.content_part.added", ...place, content_index: 0, part: partOf(empty, []) },
    ];
  }
  if (kind === "grow") return [{ ...growth(block, "delta", logprobs), ...place, delta: event.text }];
  const done = { type: "response.output_item.done", output_index, item: itemOf(block, status, logprobs) };
  const whole = { ...growth(block, "done", logprobs), ...place, ...wholeOf(block) };
  if (isCall) return [whole, done];
  const part = {
    type: "response.content_part.done",
    ...place,
    content_index: 0,
    part: partOf(block, logprobs),
  };
  return [whole, part, done];
}

/** Type and fixed fields of the events that bring a block's text, in pieces or as a whole. */
function growth({ kind }: AnswerBlock, what: "delta" | "done", logprobs: Logprobs): ResponseEvent {
  switch (kind) {
    case "text":
      return { type: `response.output_text.${what}`, content_index: 0, logprobs };
    case "reasoning":
      return { type: `response.reasoning_text.${what}`, content_index: 0 };
    case "call":
      return { type: `response.function_call_arguments.${what}` };
  }
}

function wholeOf({ kind, name, text }: AnswerBlock): object {
  return kind === "call" ? { name, arguments: text } : { text };
}
