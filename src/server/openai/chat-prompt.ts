import { MillraceError } from "../../base/errors.ts";
import type { ChatMessage } from "../../tokenizer/tokenizer.ts";
import type { ServedModel } from "../served-model.ts";
import { encodeText } from "./prompts.ts";
import type { MessageBody, TemplateBody } from "./schemas.ts";

/** Names that the template call itself sets. */
const reservedVariables: readonly string[] = [
  "messages",
  "tools",
  "add_generation_prompt",
  "chat_template",
  "tokenize",
];

/**
 * Renders messages with the model's chat template and tokenises the result. The template writes its own special
 * tokens, so none are added unless asked. Errors: `no_chat_template`, `chat_template_failed`, `invalid_request`.
 */
export function encodeChat(
  messages: readonly MessageBody[],
  body: TemplateBody,
  model: ServedModel,
): readonly number[] {
  return encodeText(renderChat(messages, body, model), model, body.add_special_tokens ?? false);
}

function renderChat(messages: readonly MessageBody[], body: TemplateBody, model: ServedModel): string {
  const template = model.chatTemplate ?? model.tokenizer.chatTemplate;
  if (template === null) {
    throw new MillraceError(
      "no_chat_template",
      `The model ${model.id} has no chat template. Use /v1/completions, or start the server with --chat-template.`,
      { param: "messages" },
    );
  }
  const continues = body.continue_final_message ?? false;
  if (continues && body.add_generation_prompt === true) {
    throw new MillraceError(
      "invalid_request",
      "The fields continue_final_message and add_generation_prompt are both true; only one can be. Leave one out.",
      { param: "continue_final_message" },
    );
  }
  const chat = messages.map(toChatMessage);
  const rendered = template.render(chat, {
    addGenerationPrompt: body.add_generation_prompt ?? !continues,
    variables: readVariables(body),
  });
  return continues ? cutAfterFinalMessage(rendered, chat.at(-1)?.content ?? "") : rendered;
}

function readVariables(body: TemplateBody): Readonly<Record<string, unknown>> {
  const variables = body.chat_template_kwargs ?? {};
  const reserved = reservedVariables.find((name) => Object.hasOwn(variables, name));
  if (reserved === undefined) return variables;
  throw new MillraceError(
    "invalid_request",
    `The field chat_template_kwargs sets ${reserved}, which the server sets itself. Leave it out.`,
    { param: `chat_template_kwargs.${reserved}` },
  );
}

/** Text parts of one message are joined by line ends, as vLLM does for templates that take a text. */
function toChatMessage(message: MessageBody, index: number): ChatMessage {
  const { content, ...rest } = message;
  const text =
    typeof content === "string"
      ? content
      : content === null || content === undefined
        ? null
        : joinParts(content, index);
  return { ...rest, ...readToolCalls(rest, index), content: text };
}

function joinParts(
  parts: readonly { readonly type: string; readonly [key: string]: unknown }[],
  index: number,
): string {
  return parts
    .map((part, at) => {
      const isText = part.type === "text" || part.type === "input_text" || part.type === "output_text";
      if (isText && typeof part["text"] === "string") return part["text"];
      const param = isText
        ? `messages[${index}].content[${at}].text`
        : `messages[${index}].content[${at}].type`;
      throw new MillraceError(
        "invalid_request",
        `The field ${param} is ${JSON.stringify(isText ? (part["text"] ?? null) : part.type).slice(0, 80)}; ` +
          "this server takes text parts with a text only. Send text.",
        { param },
      );
    })
    .join("\n");
}

/** Templates expect the arguments of earlier tool calls as objects; clients send them as JSON text. */
function readToolCalls(message: Readonly<Record<string, unknown>>, index: number): Record<string, unknown> {
  const calls = message["tool_calls"];
  if (calls === undefined || calls === null) return {};
  const wrong = (param: string): MillraceError =>
    new MillraceError(
      "invalid_request",
      `The field ${param} has not the form of a tool call with JSON arguments.`,
      {
        param,
      },
    );
  if (!Array.isArray(calls)) throw wrong(`messages[${index}].tool_calls`);
  const parsed = calls.map((call: unknown, at) => {
    const param = `messages[${index}].tool_calls[${at}].function.arguments`;
    const { function: called } = (call ?? {}) as { readonly function?: Record<string, unknown> };
    if (typeof called !== "object" || called === null) throw wrong(param);
    if (typeof called["arguments"] !== "string") return call;
    try {
      return {
        ...(call as object),
        function: { ...called, arguments: JSON.parse(called["arguments"]) as unknown },
      };
    } catch (error) {
      throw new MillraceError(
        "invalid_request",
        `The field ${param} is not valid JSON. Send the arguments as JSON.`,
        {
          param,
          cause: error,
        },
      );
    }
  });
  return { tool_calls: parsed };
}

/** Drops what the template puts after the last message, so that the answer goes on from it. */
function cutAfterFinalMessage(rendered: string, content: string): string {
  const text = content.trim();
  const start = text === "" ? -1 : rendered.lastIndexOf(text);
  if (start === -1) {
    throw new MillraceError(
      "invalid_request",
      "The field continue_final_message is true, but the chat template does not show the last message as it is. " +
        "Send a last message with text, or leave the field out.",
      { param: "continue_final_message" },
    );
  }
  const withSpaces = content.trimStart();
  return rendered.slice(0, start + (rendered.startsWith(withSpaces, start) ? withSpaces : text).length);
}
