import type { Dialect } from "../generation/dialect.ts";
import { generationHandler } from "../generation/generation.ts";
import { askChat, type ChatQuestion } from "../request/chat-question.ts";
import { type ChatBody, engineFieldsOf } from "../request/schemas.ts";
import { toMessages, toResponseFormat, toToolChoice, toTools } from "./input.ts";
import type { ResponseEvent } from "./output-items.ts";
import { ResponseWording } from "./response-wording.ts";
import { type ResponsesBody, responsesFields, responsesSchema } from "./schemas.ts";

const dialect: Dialect<ResponsesBody, ChatBody, ResponseEvent, ChatQuestion> = {
  schema: responsesSchema,
  fields: responsesFields,
  names: {
    messages: "input",
    max_completion_tokens: "max_output_tokens",
    "response_format.json_schema.schema": "text.format.schema",
    response_format: "text.format",
  },
  idPrefix: "resp_",
  translate: toChatBody,
  ask: askChat,
  word: (request, { rules }, wire) => new ResponseWording(request, rules, wire),
};

/** `POST /v1/responses`: nothing is kept, so the whole conversation comes as `input`. */
export const handleResponses = generationHandler(dialect);

/** What `include` asks for that this server has. */
const logprobsInclude = "message.output_text.logprobs";

function toChatBody(wire: ResponsesBody, ignore: (field: string) => void): ChatBody {
  const others = wire.include?.filter((name) => name !== logprobsInclude) ?? [];
  for (const name of others) ignore(`include.${name}`);
  const top = wire.top_logprobs ?? 0;
  return {
    ...engineFieldsOf(wire),
    model: wire.model,
    messages: toMessages(wire),
    max_completion_tokens: wire.max_output_tokens,
    temperature: wire.temperature,
    top_p: wire.top_p,
    top_k: wire.top_k,
    stop: wire.stop,
    logprobs: top > 0 || wire.include?.includes(logprobsInclude) === true,
    top_logprobs: top,
    stream: wire.stream,
    user: wire.user,
    tools: toTools(wire.tools),
    tool_choice: toToolChoice(wire.tool_choice),
    parallel_tool_calls: wire.parallel_tool_calls,
    response_format: toResponseFormat(wire),
    reasoning_effort: wire.reasoning?.effort,
    chat_template_kwargs: wire.chat_template_kwargs,
  };
}
