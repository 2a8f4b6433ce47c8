import type { Dialect } from "../generation/dialect.ts";
import { generationHandler } from "../generation/generation.ts";
import { type HttpContext, jsonResponse } from "../http-context.ts";
import { encodeChat } from "../request/chat-prompt.ts";
import { askChat, type ChatQuestion } from "../request/chat-question.ts";
import { demand } from "../request/field-errors.ts";
import { readBody } from "../request/request-body.ts";
import { type ChatBody, engineFieldsOf } from "../request/schemas.ts";
import type { ServerContext } from "../server-context.ts";
import { type MessageEvent, MessageWording } from "./message-wording.ts";
import { asksForThinking, toChatPrompt } from "./messages-prompt.ts";
import {
  countTokensSchema,
  type MessagesBody,
  messagesFields,
  messagesSchema,
  type PromptBody,
} from "./schemas.ts";

const dialect: Dialect<MessagesBody, ChatBody, MessageEvent, ChatQuestion> = {
  schema: messagesSchema,
  fields: messagesFields,
  names: { stop: "stop_sequences", "response_format.json_schema.schema": "output_config.format.schema" },
  idPrefix: "msg_",
  translate: toChatBody,
  ask: askChat,
  word: (request, { rules }) => new MessageWording(request, rules),
};

/** `POST /v1/messages`. */
export const handleMessages = generationHandler(dialect);

function toChatBody(wire: MessagesBody, ignore: (field: string) => void): ChatBody {
  if (wire.thinking?.budget_tokens != null) ignore("thinking.budget_tokens");
  return {
    ...engineFieldsOf(wire),
    ...toChatPrompt(wire),
    model: wire.model,
    max_tokens: wire.max_tokens,
    temperature: wire.temperature,
    top_p: wire.top_p,
    top_k: wire.top_k,
    stop: wire.stop_sequences,
    stream: wire.stream,
    user: wire.metadata?.user_id,
    response_format: formatOf(wire),
    // Clients that did not ask for thinking take the first block for the answer.
    include_reasoning: asksForThinking(wire),
  };
}

/** The schema of the answer goes by two names, of which the older one was a beta. */
function formatOf({ output_config: config, output_format: format }: PromptBody): ChatBody["response_format"] {
  const isOne = config?.format == null || format == null;
  demand(isOne, "output_format", format, "left out beside output_config.format");
  const asked = config?.format ?? format;
  return asked == null ? undefined : { type: "json_schema", json_schema: { schema: asked.schema } };
}

/** `POST /v1/messages/count_tokens`. */
export async function handleCountTokens(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const wire = await readBody(c, context, countTokensSchema, messagesFields);
  const { messages, ...template } = toChatPrompt(wire);
  const { tokenIds } = encodeChat(messages, template, registry.resolve(wire.model));
  return jsonResponse(c, { input_tokens: tokenIds.length });
}
