import { z } from "zod";
import { type FieldSupport, isFalse, isOneOf, never } from "../request/field-support.ts";
import {
  boolean,
  engineFields,
  maxTokensField,
  reasoningEffort,
  temperatureField,
  templateKwargs,
  text,
  topKField,
  topLogprobs,
  topPField,
} from "../request/schemas.ts";

// Every error text here completes "it must be …".

const inputText = "a text or a list of items, and not empty";
const itemSchema = z.looseObject(
  { type: text, role: text, content: z.unknown().optional() },
  "an item such as a message with role and content",
);

const toolName = "a name of at most 64 letters, digits, _, - and .";
const toolSchema = z.looseObject(
  {
    type: z.literal("function", "function, since this server has no tools of its own"),
    name: z.string(toolName).regex(/^[\w.-]{1,64}$/, toolName),
    description: text,
    parameters: z.record(z.string(), z.unknown(), "a JSON schema").nullish(),
  },
  "a function with name and parameters",
);

const toolChoiceText = 'none, auto, required or {"type": "function", "name": …}';
const toolChoiceSchema = z.union(
  [z.enum(["none", "auto", "required"]), z.looseObject({ type: z.literal("function"), name: z.string() })],
  toolChoiceText,
);

/** `POST /v1/responses`. */
export const responsesSchema = z.looseObject({
  model: text,
  input: z.union([z.string().min(1), z.array(itemSchema).min(1)], inputText),
  instructions: text,
  max_output_tokens: maxTokensField,
  temperature: temperatureField(2),
  top_p: topPField,
  top_k: topKField,
  stop: z.union([z.string(), z.array(z.string())], "a text or a list of texts").nullish(),
  stream: boolean,
  tools: z.array(toolSchema, "a list of tools").nullish(),
  tool_choice: toolChoiceSchema.nullish(),
  parallel_tool_calls: boolean,
  text: z
    .looseObject(
      {
        format: z
          .looseObject(
            {
              type: z.enum(["text", "json_object", "json_schema"], "text, json_object or json_schema"),
              schema: z.record(z.string(), z.unknown(), "a JSON schema").nullish(),
            },
            "an object with a type",
          )
          .nullish(),
      },
      "an object",
    )
    .nullish(),
  reasoning: z.looseObject({ effort: reasoningEffort }, "an object").nullish(),
  include: z.array(z.string("a text"), "a list of texts").nullish(),
  top_logprobs: topLogprobs,
  metadata: z.record(z.string(), z.unknown(), "an object").nullish(),
  user: text,
  chat_template_kwargs: templateKwargs,
  ...engineFields,
});

export type ResponsesBody = z.output<typeof responsesSchema>;
export type ItemBody = z.output<typeof itemSchema>;

export const responsesFields: FieldSupport = {
  refused: new Map([
    // This server keeps nothing between requests.
    ["previous_response_id", never],
    ["conversation", never],
    ["background", isFalse],
    ["prompt", never],
    ["truncation", isOneOf("disabled")],
    ["max_tool_calls", never],
  ]),
  ignored: new Set([
    "store",
    "service_tier",
    "stream_options",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
  ]),
};
