import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { shorten } from "../served-model.ts";

/** Checked by hand: a schema per element costs too much for long lists, and lists every fault of hostile ones. */
const promptSchema = z.custom<
  string | readonly string[] | readonly number[] | readonly (readonly number[])[]
>(
  (value) => typeof value === "string" || isPromptList(value),
  "expected a text, a list of texts, a list of token ids, or a list of lists of token ids, not empty",
);

function isPromptList(value: unknown): boolean {
  if (!Array.isArray(value) || value.length === 0) return false;
  const first: unknown = value[0];
  if (typeof first === "string") return value.every((item) => typeof item === "string");
  if (typeof first === "number") return isTokenIds(value);
  return value.every((item) => isTokenIds(item));
}

/** Whole numbers from 0; whether the vocabulary has them is checked with the model. */
export function isTokenIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((id) => Number.isInteger(id) && (id as number) >= 0);
}

const tokenIdsSchema = z.custom<readonly number[]>(
  isTokenIds,
  "expected a list of token ids (whole numbers from 0)",
);

const integer = z.int().nullish();
const number = z.number().nullish();
const boolean = z.boolean().nullish();

const samplingFields = {
  model: z.string().nullish(),
  temperature: number,
  top_p: number,
  top_k: integer,
  min_p: number,
  seed: integer,
  n: integer,
  stop: z.union([z.string(), z.array(z.string())], { error: "expected a text or a list of texts" }).nullish(),
  stop_token_ids: tokenIdsSchema.nullish(),
  logit_bias: z.record(z.string(), z.number()).nullish(),
  min_tokens: integer,
  max_tokens: integer,
  ignore_eos: boolean,
  include_stop_str_in_output: boolean,
  skip_special_tokens: boolean,
  stream: boolean,
  stream_options: z
    .looseObject({ include_usage: boolean, continuous_usage_stats: boolean, include_obfuscation: boolean })
    .nullish(),
  return_token_ids: boolean,
};

/** `POST /v1/completions`. */
export const completionSchema = z.looseObject({
  ...samplingFields,
  prompt: promptSchema,
  echo: boolean,
  logprobs: integer,
  add_special_tokens: boolean,
});

const messageSchema = z.looseObject({
  role: z.string().min(1),
  content: z
    .union([z.string(), z.array(z.looseObject({ type: z.string() }))], {
      error: "expected a text or a list of content parts",
    })
    .nullish(),
});

const templateFields = {
  add_generation_prompt: boolean,
  continue_final_message: boolean,
  add_special_tokens: boolean,
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
};

/** `POST /v1/chat/completions`. */
export const chatSchema = z.looseObject({
  ...samplingFields,
  ...templateFields,
  messages: z.array(messageSchema).min(1),
  max_completion_tokens: integer,
  logprobs: boolean,
  top_logprobs: integer,
});

/** `POST /tokenize`: a prompt or messages. */
export const tokenizeSchema = z.looseObject({
  model: z.string().nullish(),
  prompt: z.string().nullish(),
  messages: z.array(messageSchema).min(1).nullish(),
  return_token_strs: boolean,
  ...templateFields,
});

/** `POST /detokenize`. */
export const detokenizeSchema = z.looseObject({ model: z.string().nullish(), tokens: tokenIdsSchema });

export type CompletionBody = z.output<typeof completionSchema>;
export type ChatBody = z.output<typeof chatSchema>;
export type MessageBody = z.output<typeof messageSchema>;
export type SamplingBody = z.output<z.ZodObject<typeof samplingFields>>;
export type TemplateBody = z.output<z.ZodObject<typeof templateFields>>;

/** The body in its schema's type. Errors: `invalid_request` naming the first field at fault and the value seen. */
export function parseBody<S extends z.ZodType>(
  schema: S,
  body: Readonly<Record<string, unknown>>,
): z.output<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  const param = pathText(path);
  const seen = valueAt(body, path);
  const found = seen === undefined ? "missing" : shorten(JSON.stringify(seen));
  const problem = issue?.message.replace(/^Invalid input: /, "") ?? "wrong form";
  throw new MillraceError(
    "invalid_request",
    `The field ${param} is ${found}: ${problem}. Change this field.`,
    {
      param,
    },
  );
}

/** `["messages", 0, "role"]` → `messages[0].role`. */
function pathText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const key of path) {
    if (typeof key === "number") text += `[${key}]`;
    else text += text === "" ? shorten(String(key)) : `.${shorten(String(key))}`;
  }
  return text;
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
