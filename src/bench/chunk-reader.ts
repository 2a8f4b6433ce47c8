import { inspect } from "node:util";
import type { FailureKind } from "../base/failure-kinds.ts";
import { messageIn } from "../client/server-message.ts";
import type { TimedEvent } from "../client/stream-log.ts";

interface CompletionChunk {
  readonly choices?: readonly Choice[];
  readonly usage?: Usage | null;
  readonly error?: unknown;
}

interface Choice {
  /** Of completions. */
  readonly text?: string;
  /** Of chats; reasoning is part of the answer. */
  readonly delta?: {
    readonly content?: string | null;
    readonly reasoning?: string | null;
    readonly reasoning_content?: string | null;
    readonly tool_calls?: readonly unknown[] | null;
    readonly role?: string | null;
  };
  readonly finish_reason?: string | null;
}

interface Usage {
  readonly prompt_tokens?: number;
  readonly completion_tokens?: number;
  readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
}

/** Collects what the events of one stream say. */
export class ChunkReader {
  readonly chunkMs: number[] = [];
  readonly coalesced: boolean[] = [];
  promptTokens: number | null = null;
  outputTokens: number | null = null;
  cachedTokens: number | null = null;
  finishReason: string | null = null;
  text = "";
  fault: { readonly kind: FailureKind; readonly message: string } | null = null;
  #sawDone = false;
  /** The server's count of output tokens after each event with tokens; shorter where it does not say in every one. */
  readonly #countAfter: number[] = [];

  constructor(events: readonly TimedEvent[]) {
    for (const event of events) this.#read(event);
    if (this.fault === null && !this.#sawDone) this.#fail("malformed", "the stream ended without [DONE]");
    if (this.chunkMs.length === 0) this.#fail("malformed", "the stream had no token");
  }

  /** Tokens of every event; null where the server does not count in every one. */
  get chunkTokens(): number[] | null {
    if (this.#countAfter.length !== this.chunkMs.length) return null;
    return this.#countAfter.map((count, index) => count - (this.#countAfter[index - 1] ?? 0));
  }

  #read(event: TimedEvent): void {
    if (event.data === "[DONE]") {
      this.#sawDone = true;
      return;
    }
    const chunk = parseChunk(event.data);
    if (chunk === null) {
      this.#fail("malformed", `the stream has an event that is not JSON: ${event.data.slice(0, 80)}`);
      return;
    }
    if (chunk.error != null) this.#fail("in-stream", messageIn(chunk.error) ?? "error without a message");
    const oddity = oddityOf(chunk);
    if (oddity !== null) {
      this.#fail("malformed", `the stream has an event whose ${oddity}`);
      return;
    }
    if (chunk.usage != null) this.#readUsage(chunk.usage);
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    const text = textOf(choice);
    if (hasToken(choice, text)) {
      this.chunkMs.push(event.atMs);
      this.coalesced.push(event.coalesced);
      const count = chunk.usage?.completion_tokens;
      if (count != null) this.#countAfter.push(count);
    }
    this.text += text;
    this.finishReason = choice.finish_reason ?? this.finishReason;
  }

  #readUsage(usage: Usage): void {
    this.promptTokens = usage.prompt_tokens ?? this.promptTokens;
    this.outputTokens = usage.completion_tokens ?? this.outputTokens;
    this.cachedTokens = usage.prompt_tokens_details?.cached_tokens ?? this.cachedTokens;
  }

  #fail(kind: FailureKind, message: string): void {
    this.fault ??= { kind, message };
  }
}

function textOf({ text, delta }: Choice): string {
  return text ?? `${delta?.reasoning ?? delta?.reasoning_content ?? ""}${delta?.content ?? ""}`;
}

/** What is not as the API has it, of that which is read; null where all is. */
function oddityOf({ choices, usage }: CompletionChunk): string | null {
  if (choices != null && !Array.isArray(choices)) return `choices are ${shown(choices)}`;
  const choice: unknown = choices?.[0];
  if (choice !== undefined) {
    if (!isObject(choice)) return `choice is ${shown(choice)}`;
    const { text, delta, finish_reason: finishReason } = choice;
    if (text != null && typeof text !== "string") return `text is ${shown(text)}`;
    if (finishReason != null && typeof finishReason !== "string")
      return `finish_reason is ${shown(finishReason)}`;
    if (delta != null && !isObject(delta)) return `delta is ${shown(delta)}`;
    for (const part of ["content", "reasoning", "reasoning_content"]) {
      const value = delta?.[part];
      if (value != null && typeof value !== "string") return `${part} is ${shown(value)}`;
    }
  }
  if (usage == null) return null;
  if (!isObject(usage)) return `usage is ${shown(usage)}`;
  const { prompt_tokens, completion_tokens, prompt_tokens_details: details } = usage;
  const cached = isObject(details) ? details["cached_tokens"] : null;
  for (const [name, count] of Object.entries({ prompt_tokens, completion_tokens, cached_tokens: cached }))
    if (count != null && !(Number.isSafeInteger(count) && (count as number) >= 0))
      return `${name} is ${shown(count)}`;
  return null;
}

/** The start of a value. `JSON.stringify` would go into all of it, however deep it is. */
function shown(value: unknown): string {
  const options = { depth: 0, maxArrayLength: 4, maxStringLength: 80, breakLength: Number.POSITIVE_INFINITY };
  return inspect(value, options).slice(0, 80);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * A token may yield no text yet (half a character); the closing event of some servers has no token at all, and a chat
 * opens with its role alone. Some servers send every field in every event, null or empty where it says nothing.
 */
function hasToken({ delta, finish_reason: finishReason }: Choice, text: string): boolean {
  const calls = delta?.tool_calls;
  if (text !== "" || (Array.isArray(calls) && calls.length > 0)) return true;
  return finishReason == null && delta?.role == null;
}

function parseChunk(data: string): CompletionChunk | null {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" && value !== null ? (value as CompletionChunk) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
