import { MillraceError } from "../../base/errors.ts";
import type { ChatMessage } from "../../tokenizer/tokenizer.ts";
import { chatTemplateOf, type ServedModel } from "../served-model.ts";
import { invalidField } from "./field-errors.ts";
import { encodeText } from "./prompts.ts";
import type { MessageBody, TemplateBody, ToolBody } from "./schemas.ts";

/** Names that the template call itself sets. */
const reservedVariables: readonly string[] = [
  "messages",
  "tools",
  "add_generation_prompt",
  "chat_template",
  "tokenize",
];

/** Messages as the model reads them. */
export interface ChatPrompt {
  readonly text: string;
  readonly tokenIds: readonly number[];
}

/**
 * Renders messages with the model's chat template and tokenises the result. The template writes its own special
 * tokens, so none are added unless asked. Errors: `no_chat_template`, `chat_template_failed`, `invalid_request`.
 */
export function encodeChat(
  messages: readonly MessageBody[],
  body: TemplateBody,
  model: ServedModel,
): ChatPrompt {
  const text = renderChat(messages, body, model);
  return { text, tokenIds: encodeText(text, "messages", body.add_special_tokens ?? false, model) };
}

function renderChat(messages: readonly MessageBody[], body: TemplateBody, model: ServedModel): string {
  const { embeddingSize, architecture } = model.client.info;
  if (embeddingSize !== null) {
    throw new MillraceError(
      "invalid_request",
      `The model ${model.id} (${architecture}) makes embeddings and no text. Ask POST /v1/embeddings, or another model.`,
      { param: "model" },
    );
  }
  const template = chatTemplateOf(model);
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
  // OpenAI's newer word for the system; a template that does not know it would show a stranger.
  const knowsDeveloper = template.source.includes("developer");
  const chat = messages.map((message, index) => {
    const isSystem = message.role === "developer" && !knowsDeveloper;
    return toChatMessage(isSystem ? { ...message, role: "system" } : message, index);
  });
  const rendered = template.render(chat, {
    addGenerationPrompt: body.add_generation_prompt ?? !continues,
    tools: shownTools(body),
    variables: { ...model.templateDefaults, ...effortVariables(body), ...readVariables(body) },
  });
  return continues ? cutAfterFinalMessage(rendered, chat.at(-1)?.content ?? "") : rendered;
}

/** What the template shows of the tools: nothing where the model must call none. */
function shownTools({ tools, tool_choice: choice }: TemplateBody): readonly ToolBody[] | null {
  return tools === null || tools === undefined || tools.length === 0 || choice === "none" ? null : tools;
}

/** Templates know an effort by its name, or only whether to think. */
function effortVariables({ reasoning_effort: effort }: TemplateBody): Readonly<Record<string, unknown>> {
  if (effort === null || effort === undefined) return {};
  return { reasoning_effort: effort, enable_thinking: effort !== "none" };
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
  const calls = readToolCalls(rest, index);
  return { ...rest, ...calls, content: readContent(content, Object.keys(calls).length > 0, index) };
}

/** Only a message that calls tools may go without a text. */
function readContent(content: MessageBody["content"], hasCalls: boolean, index: number): string | null {
  if (typeof content === "string") return content;
  if (content !== null && content !== undefined) return joinParts(content, index);
  if (hasCalls) return null;
  throw invalidField(`messages[${index}].content`, content, "a text or a list of content parts");
}

const textTypes: readonly unknown[] = ["text", "input_text", "output_text"];

function joinParts(parts: readonly unknown[], index: number): string {
  return parts
    .map((part, at) => {
      const param = `messages[${index}].content[${at}]`;
      if (typeof part !== "object" || part === null) throw invalidField(param, part, "a content part");
      const { type, text } = part as { readonly type?: unknown; readonly text?: unknown };
      if (!textTypes.includes(type)) {
        throw invalidField(`${param}.type`, type, "text, since this server takes no other parts");
      }
      if (typeof text !== "string") throw invalidField(`${param}.text`, text, "a text");
      return text;
    })
    .join("\n");
}

/** Templates expect the arguments of earlier tool calls as objects; clients send them as JSON text. */
function readToolCalls(message: Readonly<Record<string, unknown>>, index: number): Record<string, unknown> {
  const calls = message["tool_calls"];
  if (calls === undefined || calls === null) return {};
  const param = `messages[${index}].tool_calls`;
  if (!Array.isArray(calls)) throw invalidField(param, calls, "a list of tool calls");
  return { tool_calls: calls.map((call: unknown, at) => readToolCall(call, `${param}[${at}]`)) };
}

function readToolCall(call: unknown, param: string): unknown {
  const { function: called } = (call ?? {}) as { readonly function?: Record<string, unknown> };
  if (typeof called !== "object" || called === null) {
    throw invalidField(`${param}.function`, called, "an object with name and arguments");
  }
  const { arguments: text } = called;
  if (typeof text !== "string") return call;
  try {
    return { ...(call as object), function: { ...called, arguments: JSON.parse(text) as unknown } };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw invalidField(`${param}.function.arguments`, text, "valid JSON");
  }
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
