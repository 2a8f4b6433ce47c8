import { type ChatPart, contentOf } from "./chat-part.ts";
import { ReasoningSplitter, type ReasoningSyntax } from "./reasoning-splitter.ts";
import { type CallRules, NamedCallParser, ToolCallParser } from "./tool-call-parser.ts";

/** What to look for in an answer; null for what is not looked for. */
export interface ChatFormat {
  readonly reasoning: ReasoningSyntax | null;
  /** Whether the prompt ends inside the reasoning, so that the answer goes on with it. */
  readonly startsInReasoning: boolean;
  readonly calls: CallRules | { readonly named: string } | null;
}

/**
 * Tells content, reasoning and calls of tools apart while an answer comes. The law: for every cut of a text into pieces,
 * the parts add up to the same.
 */
export class ChatParser {
  readonly #reasoning: ReasoningSplitter | null;
  readonly #calls: ToolCallParser | NamedCallParser | null;

  constructor({ reasoning, startsInReasoning, calls }: ChatFormat) {
    this.#reasoning = reasoning === null ? null : new ReasoningSplitter(reasoning, startsInReasoning);
    if (calls === null) this.#calls = null;
    else this.#calls = "named" in calls ? new NamedCallParser(calls.named) : new ToolCallParser(calls);
  }

  get numCalls(): number {
    return this.#calls?.numCalls ?? 0;
  }

  push(text: string): ChatPart[] {
    return this.#withCalls(this.#reasoning?.push(text) ?? contentOf(text));
  }

  /** What was held back, at the answer's end. */
  flush(): ChatPart[] {
    const rest = this.#withCalls(this.#reasoning?.flush() ?? []);
    return [...rest, ...(this.#calls?.flush() ?? [])];
  }

  #withCalls(parts: readonly ChatPart[]): ChatPart[] {
    const calls = this.#calls;
    if (calls === null) return [...parts];
    return parts.flatMap((part) => (part.kind === "content" ? calls.push(part.text) : [part]));
  }
}
