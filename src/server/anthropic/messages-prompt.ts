import { invalidField, textField } from "../request/field-errors.ts";
import type { ChatBody, MessageBody, ToolBody } from "../request/schemas.ts";
import type { BlockBody, PromptBody } from "./schemas.ts";

/** What a chat's prompt is made of. */
type PromptPart = Pick<ChatBody, "messages" | "tools" | "tool_choice" | "parallel_tool_calls"> & {
  readonly chat_template_kwargs: Record<string, unknown>;
  readonly continue_final_message: boolean;
};

/**
 * The prompt in OpenAI's words. `system` becomes the first message, a tool's result a message of its own; what comes last
 * from the assistant is gone on with. Errors: `invalid_request` for a block that is not text, tool or thinking.
 */
export function toChatPrompt(wire: PromptBody): PromptPart {
  const system = wire.system === null || wire.system === undefined ? "" : textOf(wire.system, "system");
  const messages = wire.messages.flatMap(({ role, content }, at) => {
    if (typeof content === "string") return [{ role, content }];
    const param = `messages[${at}].content`;
    return role === "user" ? userMessages(content, param) : [assistantMessage(content, param)];
  });
  const last = messages.at(-1);
  return {
    messages: system === "" ? messages : [{ role: "system", content: system }, ...messages],
    tools: wire.tools?.map(toolOf),
    tool_choice: toolChoiceOf(wire),
    parallel_tool_calls: wire.tool_choice?.disable_parallel_tool_use === true ? false : undefined,
    chat_template_kwargs: { enable_thinking: asksForThinking(wire), ...wire.chat_template_kwargs },
    continue_final_message:
      last?.role === "assistant" && typeof last.content === "string" && last.content.trim() !== "",
  };
}

export function asksForThinking({ thinking }: PromptBody): boolean {
  return thinking?.type === "enabled" || thinking?.type === "adaptive";
}

/** Results of tools and texts in their order; texts that follow each other are one message. */
function userMessages(blocks: readonly BlockBody[], param: string): MessageBody[] {
  const messages: MessageBody[] = [];
  let texts: string[] = [];
  const endText = (): void => {
    if (texts.length > 0) messages.push({ role: "user", content: texts.join("\n") });
    texts = [];
  };
  for (const [at, block] of blocks.entries()) {
    const place = `${param}[${at}]`;
    if (block.type !== "tool_result") {
      texts.push(textOfBlock(block, place));
      continue;
    }
    endText();
    const { tool_use_id: id, content } = block;
    if (typeof id !== "string") throw invalidField(`${place}.tool_use_id`, id, "the id of a tool_use block");
    const result = content ?? "";
    if (typeof result !== "string" && !Array.isArray(result)) {
      throw invalidField(`${place}.content`, content, "a text or a list of text blocks");
    }
    messages.push({ role: "tool", tool_call_id: id, content: textOf(result, `${place}.content`) });
  }
  endText();
  return messages;
}

function assistantMessage(blocks: readonly BlockBody[], param: string): MessageBody {
  const texts: string[] = [];
  const thoughts: string[] = [];
  const calls: object[] = [];
  for (const [at, block] of blocks.entries()) {
    const place = `${param}[${at}]`;
    if (block.type === "thinking") thoughts.push(textField(block, "thinking", place));
    else if (block.type === "tool_use") calls.push(callOf(block, place));
    // Nobody but who wrote it can read redacted thinking.
    else if (block.type !== "redacted_thinking") texts.push(textOfBlock(block, place));
  }
  return {
    role: "assistant",
    content: texts.length === 0 && calls.length > 0 ? null : texts.join("\n"),
    ...(thoughts.length === 0 ? {} : { reasoning_content: thoughts.join("\n") }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
}

function callOf(block: BlockBody, param: string): object {
  const { input } = block;
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw invalidField(`${param}.input`, input, "an object");
  }
  const called = { name: textField(block, "name", param), arguments: input };
  return { id: textField(block, "id", param), type: "function", function: called };
}

function textOf(content: string | readonly unknown[], param: string): string {
  if (typeof content === "string") return content;
  return content.map((block, at) => textOfBlock(block, `${param}[${at}]`)).join("\n");
}

function textOfBlock(block: unknown, param: string): string {
  const { type } = (block ?? {}) as { readonly type?: unknown };
  if (type === "text") return textField(block as BlockBody, "text", param);
  throw invalidField(`${param}.type`, type, "text here, since this server takes no such blocks");
}

function toolOf(tool: NonNullable<PromptBody["tools"]>[number]): ToolBody {
  const { name, description, input_schema: parameters } = tool;
  return { type: "function", function: { name, description, parameters } };
}

function toolChoiceOf({ tool_choice: choice }: PromptBody): ChatBody["tool_choice"] {
  switch (choice?.type) {
    case undefined:
    case "auto":
    case "none":
      return choice?.type;
    case "any":
      return "required";
    case "tool":
      if (typeof choice.name !== "string") {
        throw invalidField("tool_choice.name", choice.name, "the name of a tool");
      }
      return { type: "function", function: { name: choice.name } };
  }
}
