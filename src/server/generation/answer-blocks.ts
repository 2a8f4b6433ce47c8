import { randomUUID } from "node:crypto";
import { type ChatFormat, ChatParser } from "../../text/chat-output/chat-parser.ts";
import type { ChatPart } from "../../text/chat-output/chat-part.ts";
import type { TextDelta } from "../../text/text-stream.ts";

/** One part of a chat's answer: text, reasoning, or a call of a tool. */
export interface AnswerBlock {
  /** Unlike all others; a dialect puts its own prefix before it. */
  readonly key: string;
  /** Place in the answer. */
  readonly index: number;
  readonly kind: "text" | "reasoning" | "call";
  /** Of the tool; empty where there is none. */
  readonly name: string;
  /** So far; of a call its arguments as JSON text. */
  readonly text: string;
}

/** Blocks come one after another: each opens, grows and closes before the next one opens. */
export type AnswerEvent =
  | { readonly kind: "open" | "close"; readonly block: AnswerBlock }
  | { readonly kind: "grow"; readonly block: AnswerBlock; readonly text: string };

/** The events of one chat answer in the words of no dialect, and the blocks that they add up to. */
export class AnswerBlocks {
  readonly blocks: AnswerBlock[] = [];
  readonly #parser: ChatParser;
  readonly #hidesReasoning: boolean;
  #open: (AnswerBlock & { text: string }) | null = null;

  constructor(format: ChatFormat, hidesReasoning: boolean) {
    this.#parser = new ChatParser(format);
    this.#hidesReasoning = hidesReasoning;
  }

  get numCalls(): number {
    return this.#parser.numCalls;
  }

  read({ text, finishReason }: TextDelta): AnswerEvent[] {
    const parts = text === "" ? [] : this.#parser.push(text);
    if (finishReason !== null) parts.push(...this.#parser.flush());
    const events = parts
      .filter(({ kind }) => kind !== "reasoning" || !this.#hidesReasoning)
      .flatMap((part) => this.#add(part));
    if (finishReason !== null) events.push(...this.#close());
    return events;
  }

  #add(part: ChatPart): AnswerEvent[] {
    if (part.kind === "call") return this.#begin("call", part.name);
    const kind = part.kind === "arguments" ? "call" : part.kind === "content" ? "text" : "reasoning";
    const events = this.#open?.kind === kind ? [] : this.#begin(kind, "");
    const block = this.#open!;
    block.text += part.text;
    events.push({ kind: "grow", block, text: part.text });
    return events;
  }

  #begin(kind: AnswerBlock["kind"], name: string): AnswerEvent[] {
    const events = this.#close();
    const key = randomUUID().replaceAll("-", "");
    const block = { key, index: this.blocks.length, kind, name, text: "" };
    this.blocks.push(block);
    this.#open = block;
    events.push({ kind: "open", block });
    return events;
  }

  #close(): AnswerEvent[] {
    const block = this.#open;
    this.#open = null;
    return block === null ? [] : [{ kind: "close", block }];
  }
}
