import { z } from "zod";
import { maxLogprobs } from "../../protocol/sampling-params.ts";

// Every error text here completes "it must be …" and names the whole range, also where a later check knows it better.

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

/** Most choices per prompt. */
const maxChoices = 128;

/** @param allowed completes "a whole number …" */
const integer = (allowed: string, min = -Infinity, max = Infinity) => {
  const text = `a whole number ${allowed}`;
  const isIn = (value: number): boolean => Number.isInteger(value) && value >= min && value <= max;
  return z.number(text).refine(isIn, text).nullish();
};

const between = (min: number, max: number) => integer(`from ${min} to ${max}`, min, max);

const int32 = 2 ** 31;

/** @param allowed completes "a number …" */
const number = (allowed: string, isIn: (value: number) => boolean) => {
  const text = `a number ${allowed}`;
  return z.number(text).refine(isIn, text).nullish();
};

const penalty = number("from -2 to 2", (value) => value >= -2 && value <= 2);

/** The kernels compute in f32. */
function isFactor(value: number): boolean {
  const inKernel = Math.fround(value);
  return inKernel > 0 && inKernel < Infinity;
}

export const topLogprobs = between(0, maxLogprobs);

export const boolean = z.boolean("true or false").nullish();
export const text = z.string("a text").nullish();

/** Fields of vLLM's and of our own that every dialect takes beside its own. */
export const engineFields = {
  min_p: number("from 0 to 1", (value) => value >= 0 && value <= 1),
  seed: between(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  stop_token_ids: tokenIdsSchema.nullish(),
  logit_bias: z.record(z.string(), z.number("a number"), "an object of token ids and numbers").nullish(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  repetition_penalty: number("above 0 (1 = none)", isFactor),
  allowed_token_ids: tokenIdsSchema.nullish(),
  bad_words: z.array(z.string("a text"), "a list of texts").nullish(),
  min_tokens: integer("from 0 to max_tokens", 0),
  ignore_eos: boolean,
  include_stop_str_in_output: boolean,
  skip_special_tokens: boolean,
  structured_outputs: z.looseObject({}, "an object").nullish(),
  priority: between(-int32, int32 - 1),
  deadline_ms: number("of milliseconds above 0", (value) => value > 0),
  cache_salt: text,
  tenant: text,
};

/** Values of the fields of a body that a dialect only passes on. */
export function engineFieldsOf(body: Readonly<Record<string, unknown>>): EngineFieldsBody {
  const given = Object.entries(body).filter(([name]) => Object.hasOwn(engineFields, name));
  return Object.fromEntries(given) as EngineFieldsBody;
}

export const maxTokensField = integer("from 1 to what the prompt leaves of the context", 1);
export const topPField = number("above 0 and at most 1", (value) => value > 0 && value <= 1);
export const topKField = integer(`from 1 to ${int32 - 1}, or 0 or -1 for all tokens`, -1, int32 - 1);
/** @param max the highest that the dialect knows */
export const temperatureField = (max: number) =>
  number(`from 0 (greedy) to ${max}`, (value) => value >= 0 && value <= max);

const samplingFields = {
  model: text,
  temperature: temperatureField(2),
  top_p: topPField,
  top_k: topKField,
  n: between(1, maxChoices),
  stop: z.union([z.string(), z.array(z.string())], "a text or a list of texts").nullish(),
  prompt_logprobs: between(0, maxLogprobs),
  max_tokens: maxTokensField,
  ...engineFields,
  stream: boolean,
  stream_options: z
    .looseObject(
      { include_usage: boolean, continuous_usage_stats: boolean, include_obfuscation: boolean },
      "an object",
    )
    .nullish(),
  response_format: z
    .looseObject(
      {
        type: z.enum(["text", "json_object", "json_schema"], "text, json_object or json_schema"),
        json_schema: z.looseObject({ schema: z.unknown() }, "an object with name and schema").nullish(),
      },
      "an object with a type",
    )
    .nullish(),
  return_token_ids: boolean,
  user: text,
  explain: boolean,
};

/** `POST /v1/completions`. */
export const completionSchema = z.looseObject({
  ...samplingFields,
  prompt: promptSchema,
  max_tokens: integer("from 1, or 0 together with echo, to what the prompt leaves of the context", 0),
  echo: boolean,
  logprobs: between(0, maxLogprobs),
  add_special_tokens: boolean,
});

const roles = ["system", "developer", "user", "assistant", "tool", "function"] as const;

const messageSchema = z.looseObject(
  {
    role: z.enum(roles, roles.join(", ").replace(/, (\w+)$/, " or $1")),
    content: z.union([z.string(), z.array(z.unknown())], "a text or a list of content parts").nullish(),
  },
  "an object with role and content",
);

const messagesText = "a list of at least one message";
const messagesSchema = z.array(messageSchema, messagesText).min(1, messagesText);

const functionName = "a name of at most 64 letters, digits, _, - and .";
const toolSchema = z.looseObject(
  {
    type: z.literal("function", "function"),
    function: z.looseObject(
      {
        name: z.string(functionName).regex(/^[\w.-]{1,64}$/, functionName),
        description: text,
        parameters: z.record(z.string(), z.unknown(), "a JSON schema").nullish(),
      },
      "an object with name, description and parameters",
    ),
  },
  "an object with type function and the function",
);

const toolChoiceText = 'none, auto, required or {"type": "function", "function": {"name": …}}';
const toolChoiceSchema = z.union(
  [
    z.enum(["none", "auto", "required"]),
    z.looseObject({ type: z.literal("function"), function: z.looseObject({ name: z.string() }) }),
  ],
  toolChoiceText,
);

const efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const;
/** How much the model is to think, which is for its chat template to say. */
export const reasoningEffort = z.enum(efforts, efforts.join(", ")).nullish();

export const templateKwargs = z.record(z.string(), z.unknown(), "an object").nullish();

const templateFields = {
  tools: z.array(toolSchema, "a list of tools").nullish(),
  tool_choice: toolChoiceSchema.nullish(),
  reasoning_effort: reasoningEffort,
  add_generation_prompt: boolean,
  continue_final_message: boolean,
  add_special_tokens: boolean,
  chat_template_kwargs: templateKwargs,
};

/** `POST /v1/chat/completions`. */
export const chatSchema = z.looseObject({
  ...samplingFields,
  ...templateFields,
  messages: messagesSchema,
  max_completion_tokens: samplingFields.max_tokens,
  logprobs: boolean,
  top_logprobs: topLogprobs,
  parallel_tool_calls: boolean,
  include_reasoning: boolean,
});

/** `POST /v1/embeddings`: `input` in the forms of a prompt. */
export const embeddingsSchema = z.looseObject({
  model: text,
  input: promptSchema,
  encoding_format: z.enum(["float", "base64"], "float or base64").nullish(),
  dimensions: integer("from 1", 1),
  user: text,
});

const textsSchema = z.union(
  [z.string(), z.array(z.string()).min(1)],
  "a text or a list of texts, and not empty",
);

/** `POST /score`: `text_1` beside each of `text_2`, or in pairs. */
export const scoreSchema = z.looseObject({
  model: text,
  text_1: textsSchema,
  text_2: textsSchema,
  user: text,
});

const documentsText = "a list of at least one text, or of objects with a text";
const documentSchema = z.union([z.string(), z.looseObject({ text: z.string() })], documentsText);

/** `POST /rerank`. */
export const rerankSchema = z.looseObject({
  model: text,
  query: z.string("a text"),
  documents: z.array(documentSchema, documentsText).min(1, documentsText),
  top_n: integer("from 1", 1),
  return_documents: boolean,
  user: text,
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
export type ToolBody = z.output<typeof toolSchema>;
export type MessageBody = z.output<typeof messageSchema>;
type EngineFieldsBody = z.output<z.ZodObject<typeof engineFields>>;
export type SamplingBody = z.output<z.ZodObject<typeof samplingFields>>;
export type TemplateBody = z.output<z.ZodObject<typeof templateFields>>;
