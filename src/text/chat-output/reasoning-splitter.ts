import { type ChatPart, contentOf } from "./chat-part.ts";
import { MarkerBuffer } from "./marker-buffer.ts";

/** How a model marks what it thinks before it answers. */
export interface ReasoningSyntax {
  readonly open: string;
  readonly close: string;
}

export type ReasoningName = "think" | "mistral";

export const reasoningSyntaxes: Readonly<Record<ReasoningName, ReasoningSyntax>> = {
  /** Qwen 3, DeepSeek R1, SmolLM3, Hermes. */
  think: { open: "<think>", close: "</think>" },
  mistral: { open: "[THINK]", close: "[/THINK]" },
};

/** The reasoning that a chat template speaks of; null for none. */
export function reasoningOfTemplate(template: string): ReasoningName | null {
  const names = Object.keys(reasoningSyntaxes) as ReasoningName[];
  return names.find((name) => template.includes(reasoningSyntaxes[name].close)) ?? null;
}

/**
 * Parts an answer into reasoning and content. Reasoning stands at the answer's beginning only; markers further on are
 * content. White space around the reasoning is left out.
 */
export class ReasoningSplitter {
  readonly #syntax: ReasoningSyntax;
  readonly #buffer = new MarkerBuffer();
  #state: "start" | "reasoning" | "after" | "content";
  /** White space at the reasoning's end so far: left out unless more follows. */
  #spaces = "";
  #isBegun = false;

  constructor(syntax: ReasoningSyntax, startsInReasoning: boolean) {
    this.#syntax = syntax;
    this.#state = startsInReasoning ? "reasoning" : "start";
  }

  push(text: string): ChatPart[] {
    this.#buffer.push(text);
    const parts: ChatPart[] = [];
    if (this.#state === "start") this.#start();
    if (this.#state === "reasoning") parts.push(...this.#reason());
    if (this.#state === "after") this.#skipSpaces();
    if (this.#state === "content") parts.push(...contentOf(this.#buffer.take(this.#buffer.text.length)));
    return parts;
  }

  flush(): ChatPart[] {
    const rest = this.#buffer.take(this.#buffer.text.length);
    if (this.#state === "reasoning") return this.#reasoning(rest);
    return this.#state === "after" ? [] : contentOf(rest);
  }

  #start(): void {
    const trimmed = this.#buffer.text.trimStart();
    const { open } = this.#syntax;
    if (trimmed.startsWith(open)) {
      this.#buffer.take(this.#buffer.text.length - trimmed.length + open.length);
      this.#state = "reasoning";
    } else if (!open.startsWith(trimmed)) {
      this.#state = "content";
    }
  }

  #reason(): ChatPart[] {
    const { text, marker } = this.#buffer.takeUntil([this.#syntax.close]);
    const parts = this.#reasoning(text);
    if (marker !== null) this.#state = "after";
    return parts;
  }

  #reasoning(text: string): ChatPart[] {
    const all = this.#spaces + text;
    const kept = all.trimEnd();
    this.#spaces = all.slice(kept.length);
    const shown = this.#isBegun ? kept : kept.trimStart();
    if (shown === "") return [];
    this.#isBegun = true;
    return [{ kind: "reasoning", text: shown }];
  }

  #skipSpaces(): void {
    const trimmed = this.#buffer.text.trimStart();
    this.#buffer.take(this.#buffer.text.length - trimmed.length);
    if (trimmed !== "") this.#state = "content";
  }
}
