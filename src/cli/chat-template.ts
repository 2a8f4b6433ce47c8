import { isMillraceError, MillraceError, messageOf } from "../base/errors.ts";
import type { ChatTemplate } from "../tokenizer/tokenizer.ts";

const content = "Hello";

/**
 * Renders one message, so that a template that cannot work is told before a model loads.
 * Errors: `chat_template_failed` with the file, the template's own message and what to do.
 */
export function checkChatTemplate(template: ChatTemplate, file: string): void {
  let rendered: string;
  try {
    rendered = template.render([{ role: "user", content }], { addGenerationPrompt: true });
  } catch (error) {
    if (!isMillraceError(error)) throw error;
    throw unusable(file, `cannot be rendered: ${messageOf(error.cause)}`, error);
  }
  if (!rendered.includes(content)) throw unusable(file, "leaves the message out");
}

function unusable(file: string, problem: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "chat_template_failed",
    `--chat-template is ${file}, which ${problem}. It takes a Jinja template that renders a conversation of one ` +
      "user message. Correct the file or leave the flag out.",
    { param: "--chat-template", cause },
  );
}
