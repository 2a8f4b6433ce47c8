import { Template } from "@huggingface/jinja";
import { MillraceError, messageOf } from "../base/errors.ts";
import type { ChatMessage, ChatTemplate, RenderOptions } from "./tokenizer.ts";

/** A model's Jinja template in the environment that transformers gives it (trimmed blocks, special tokens). */
export class JinjaChatTemplate implements ChatTemplate {
  readonly source: string;
  readonly #specialTokens: Readonly<Record<string, string>>;
  #parsed: Template | undefined;

  /** The template is parsed at its first use, so that a broken one does not stop plain completions. */
  constructor(source: string, specialTokens: Readonly<Record<string, string>>) {
    this.source = source;
    this.#specialTokens = specialTokens;
  }

  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    try {
      this.#parsed ??= new Template(this.source);
      return this.#parsed.render({
        ...this.#specialTokens,
        tools: options.tools ?? null,
        documents: null,
        ...options.variables,
        messages,
        add_generation_prompt: options.addGenerationPrompt ?? false,
      });
    } catch (error) {
      throw new MillraceError(
        "chat_template_failed",
        `The model's chat template refused the messages: ${messageOf(error)}. Change the messages accordingly, or give another template with --chat-template.`,
        { param: "messages", cause: error },
      );
    }
  }
}
