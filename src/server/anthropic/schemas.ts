import { z } from "zod";
import { type FieldSupport, isEmpty, never } from "../request/field-support.ts";
import {
  boolean,
  engineFields,
  maxTokensField,
  temperatureField,
  templateKwargs,
  text,
  topKField,
  topPField,
} from "../request/schemas.ts";

// Every error text here completes "it must be …".

const blocksText = "a text or a list of content blocks";
const blockSchema = z.looseObject({ type: z.string("a text such as text") }, "a content block with a type");
const contentSchema = z.union([z.string(), z.array(blockSchema)], blocksText);

const messagesText = "a list of at least one message";
const messageSchema = z.looseObject(
  { role: z.enum(["user", "assistant"], "user or assistant"), content: contentSchema },
  "an object with role and content",
);

const toolName = "a name of at most 128 letters, digits, _, - and .";
const toolSchema = z.looseObject(
  {
    type: z.literal("custom", "custom, since this server has no tools of its own").nullish(),
    name: z.string(toolName).regex(/^[\w.-]{1,128}$/, toolName),
    description: text,
    input_schema: z.record(z.string(), z.unknown(), "a JSON schema"),
  },
  "an object with name and input_schema",
);

const toolChoiceSchema = z.looseObject(
  {
    type: z.enum(["auto", "any", "tool", "none"], "auto, any, tool or none"),
    name: text,
    disable_parallel_tool_use: boolean,
  },
  "an object with a type",
);

const formatSchema = z.looseObject(
  {
    type: z.literal("json_schema", "json_schema"),
    schema: z.record(z.string(), z.unknown(), "a JSON schema"),
  },
  "an object with type json_schema and the schema",
);

const promptFields = {
  model: text,
  messages: z.array(messageSchema, messagesText).min(1, messagesText),
  system: contentSchema.nullish(),
  tools: z.array(toolSchema, "a list of tools").nullish(),
  tool_choice: toolChoiceSchema.nullish(),
  thinking: z
    .looseObject(
      {
        type: z.enum(["enabled", "disabled", "adaptive"], "enabled, disabled or adaptive"),
        budget_tokens: z.number("a number of tokens").nullish(),
      },
      "an object with a type",
    )
    .nullish(),
  output_config: z.looseObject({ format: formatSchema.nullish() }, "an object").nullish(),
  output_format: formatSchema.nullish(),
  chat_template_kwargs: templateKwargs,
};

/** `POST /v1/messages`. */
export const messagesSchema = z.looseObject({
  ...promptFields,
  // Neither null nor left out.
  max_tokens: maxTokensField.unwrap().unwrap(),
  stop_sequences: z.array(z.string("a text"), "a list of texts").nullish(),
  temperature: temperatureField(1),
  top_p: topPField,
  top_k: topKField,
  stream: boolean,
  metadata: z.looseObject({ user_id: text }, "an object").nullish(),
  ...engineFields,
});

/** `POST /v1/messages/count_tokens`. */
export const countTokensSchema = z.looseObject(promptFields);

export type MessagesBody = z.output<typeof messagesSchema>;
export type PromptBody = z.output<typeof countTokensSchema>;
export type BlockBody = z.output<typeof blockSchema>;

export const messagesFields: FieldSupport = {
  refused: new Map([
    ["container", never],
    ["mcp_servers", isEmpty],
    ["context_management", isEmpty],
  ]),
  ignored: new Set(["service_tier", "inference_geo", "cache_control", "speed"]),
};
