import { invalidField, textField } from "../request/field-errors.ts";
import type { ChatBody, MessageBody, ToolBody } from "../request/schemas.ts";
import type { ItemBody, ResponsesBody } from "./schemas.ts";

/** An assistant's turn in the making: its items come one by one. */
interface Turn {
  readonly texts: string[];
  readonly thoughts: string[];
  readonly calls: object[];
}

/**
 * The conversation in the words of chat. Items of the assistant that follow each other are one message; instructions and
 * what `system` and `developer` say before the first other item are one system message, since templates take one.
 * Errors: `invalid_request` for an item that is no text, reasoning or call of a function.
 */
export function toMessages({ input, instructions }: ResponsesBody): MessageBody[] {
  const items: readonly ItemBody[] = typeof input === "string" ? [{ role: "user", content: input }] : input;
  const system: string[] = instructions === null || instructions === undefined ? [] : [instructions];
  const messages: MessageBody[] = [];
  let turn: Turn | null = null;
  for (const [at, item] of items.entries()) {
    const param = `input[${at}]`;
    if (isOfAssistant(item)) {
      turn ??= { texts: [], thoughts: [], calls: [] };
      addToTurn(turn, item, param);
      continue;
    }
    if (turn !== null) messages.push(messageOf(turn));
    turn = null;
    const message = messageOfItem(item, param);
    if (message.role === "system" && messages.length === 0) system.push(String(message.content));
    else messages.push(message);
  }
  if (turn !== null) messages.push(messageOf(turn));
  return system.length === 0 ? messages : [{ role: "system", content: system.join("\n\n") }, ...messages];
}

function isOfAssistant({ type, role }: ItemBody): boolean {
  return type === "reasoning" || type === "function_call" || role === "assistant";
}

function addToTurn(turn: Turn, item: ItemBody, param: string): void {
  if (item.type === "reasoning") turn.thoughts.push(thoughtOf(item, param));
  else if (item.type === "function_call") turn.calls.push(callOf(item, param));
  else turn.texts.push(textOf(item.content, `${param}.content`));
}

function messageOf({ texts, thoughts, calls }: Turn): MessageBody {
  const reasoning = thoughts.filter((thought) => thought !== "").join("\n");
  return {
    role: "assistant",
    content: texts.length === 0 && calls.length > 0 ? null : texts.join("\n"),
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
}

function messageOfItem(item: ItemBody, param: string): MessageBody {
  if (item.type === "function_call_output") {
    const content = textOf(item["output"], `${param}.output`);
    return { role: "tool", tool_call_id: textField(item, "call_id", param), content };
  }
  const { type, role } = item;
  if (type !== undefined && type !== null && type !== "message") {
    const allowed = "message, reasoning, function_call or function_call_output";
    throw invalidField(`${param}.type`, type, allowed);
  }
  if (role !== "user" && role !== "system" && role !== "developer") {
    throw invalidField(`${param}.role`, role, "user, assistant, system or developer");
  }
  const content = textOf(item.content, `${param}.content`);
  return { role: role === "developer" ? "system" : role, content };
}

/** What the model thought; a summary where nothing else is there. */
function thoughtOf(item: ItemBody, param: string): string {
  for (const name of ["content", "summary"] as const) {
    const parts = item[name];
    if (Array.isArray(parts) && parts.length > 0) return textOf(parts, `${param}.${name}`);
  }
  return "";
}

function callOf(item: ItemBody, param: string): object {
  const called = { name: textField(item, "name", param), arguments: textField(item, "arguments", param) };
  return { id: textField(item, "call_id", param), type: "function", function: called };
}

const textTypes: readonly unknown[] = ["input_text", "output_text", "text", "reasoning_text", "summary_text"];

function textOf(content: unknown, param: string): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw invalidField(param, content, "a text or a list of content parts");
  return content
    .map((part: unknown, at) => {
      const { type, text } = (part ?? {}) as { readonly type?: unknown; readonly text?: unknown };
      const place = `${param}[${at}]`;
      if (!textTypes.includes(type)) {
        throw invalidField(`${place}.type`, type, "input_text, since this server takes no other parts");
      }
      if (typeof text !== "string") throw invalidField(`${place}.text`, text, "a text");
      return text;
    })
    .join("\n");
}

export function toTools(tools: ResponsesBody["tools"]): ToolBody[] | undefined {
  return tools?.map(({ name, description, parameters }) => ({
    type: "function",
    function: { name, description, parameters },
  }));
}

export function toToolChoice(choice: ResponsesBody["tool_choice"]): ChatBody["tool_choice"] {
  if (typeof choice !== "object" || choice === null) return choice;
  return { type: "function", function: { name: choice.name } };
}

export function toResponseFormat({ text }: ResponsesBody): ChatBody["response_format"] {
  const { type, schema } = text?.format ?? {};
  if (type === undefined) return undefined;
  if (type !== "json_schema") return { type };
  if (schema === null || schema === undefined) {
    throw invalidField("text.format.schema", schema, "a JSON schema");
  }
  return { type, json_schema: { schema } };
}
