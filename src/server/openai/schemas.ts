import { z } from "zod";

// Every error text here completes "it must be …".

/** Whole numbers from 0; whether the vocabulary has them is checked with the model. */
function isTokenId(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0;
}

const tokenIdText = "a token id, which is a whole number from 0";

/** The places and faults of a list's first bad item; a schema per element costs too much for long lists. */
function reportFirst(
  context: z.RefinementCtx,
  list: readonly unknown[],
  isGood: (item: unknown) => boolean,
  allowed: string,
  parent: readonly number[] = [],
): boolean {
  const bad = list.findIndex((item) => !isGood(item));
  if (bad === -1) return false;
  context.addIssue({ code: "custom", path: [...parent, bad], message: allowed });
  return true;
}

export type PromptBody = string | readonly string[] | readonly number[] | readonly (readonly number[])[];

const promptText = "a text, a list of texts, a list of token ids or a list of such lists, and not empty";

const promptSchema = z.custom<PromptBody>().superRefine((value: unknown, context) => {
  if (typeof value === "string") return;
  if (!Array.isArray(value) || value.length === 0) {
    context.addIssue({ code: "custom", message: promptText });
    return;
  }
  const first: unknown = value[0];
  if (typeof first === "string") {
    reportFirst(context, value, (item) => typeof item === "string", "a text like the first");
  } else if (typeof first === "number") {
    reportFirst(context, value, isTokenId, tokenIdText);
  } else if (!reportFirst(context, value, Array.isArray, "a text, a token id or a list of token ids")) {
    for (const [at, item] of value.entries()) {
      if (reportFirst(context, item as unknown[], isTokenId, tokenIdText, [at])) return;
    }
  }
});

const tokenIdsSchema = z.custom<readonly number[]>().superRefine((value: unknown, context) => {
  if (Array.isArray(value)) reportFirst(context, value, isTokenId, tokenIdText);
  else context.addIssue({ code: "custom", message: "a list of token ids" });
});

const integer = z
  .int(`a whole number from ${Number.MIN_SAFE_INTEGER} to ${Number.MAX_SAFE_INTEGER}`)
  .nullish();
const number = z.number("a number").nullish();
const boolean = z.boolean("true or false").nullish();
const text = z.string("a text").nullish();

const samplingFields = {
  model: text,
  temperature: number,
  top_p: number,
  top_k: integer,
  min_p: number,
  seed: integer,
  n: integer,
  stop: z.union([z.string(), z.array(z.string())], "a text or a list of texts").nullish(),
  stop_token_ids: tokenIdsSchema.nullish(),
  logit_bias: z.record(z.string(), z.number("a number"), "an object of token ids and numbers").nullish(),
  presence_penalty: number,
  frequency_penalty: number,
  repetition_penalty: number,
  allowed_token_ids: tokenIdsSchema.nullish(),
  bad_words: z.array(z.string("a text"), "a list of texts").nullish(),
  prompt_logprobs: integer,
  min_tokens: integer,
  max_tokens: integer,
  ignore_eos: boolean,
  include_stop_str_in_output: boolean,
  skip_special_tokens: boolean,
  stream: boolean,
  stream_options: z
    .looseObject(
      { include_usage: boolean, continuous_usage_stats: boolean, include_obfuscation: boolean },
      "an object",
    )
    .nullish(),
  return_token_ids: boolean,
  priority: integer,
  deadline_ms: number,
  cache_salt: text,
  tenant: text,
  user: text,
  explain: boolean,
};

/** `POST /v1/completions`. */
export const completionSchema = z.looseObject({
  ...samplingFields,
  prompt: promptSchema,
  echo: boolean,
  logprobs: integer,
  add_special_tokens: boolean,
});

const messageSchema = z.looseObject(
  {
    role: z.string("a text such as user").min(1, "a text such as user"),
    content: z.union([z.string(), z.array(z.unknown())], "a text or a list of content parts").nullish(),
  },
  "an object with role and content",
);

const messagesText = "a list of at least one message";
const messagesSchema = z.array(messageSchema, messagesText).min(1, messagesText);

const templateFields = {
  add_generation_prompt: boolean,
  continue_final_message: boolean,
  add_special_tokens: boolean,
  chat_template_kwargs: z.record(z.string(), z.unknown(), "an object").nullish(),
};

/** `POST /v1/chat/completions`. */
export const chatSchema = z.looseObject({
  ...samplingFields,
  ...templateFields,
  messages: messagesSchema,
  max_completion_tokens: integer,
  logprobs: boolean,
  top_logprobs: integer,
});

/** `POST /tokenize`: a prompt or messages. */
export const tokenizeSchema = z.looseObject({
  model: text,
  prompt: text,
  messages: messagesSchema.nullish(),
  return_token_strs: boolean,
  ...templateFields,
});

/** `POST /detokenize`. */
export const detokenizeSchema = z.looseObject({ model: text, tokens: tokenIdsSchema });

export type CompletionBody = z.output<typeof completionSchema>;
export type ChatBody = z.output<typeof chatSchema>;
export type MessageBody = z.output<typeof messageSchema>;
export type SamplingBody = z.output<z.ZodObject<typeof samplingFields>>;
export type TemplateBody = z.output<z.ZodObject<typeof templateFields>>;
