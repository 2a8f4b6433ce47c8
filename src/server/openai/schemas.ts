import { z } from "zod";

const maxPrompts = 1024;
const maxChoices = 128;
const tokenId = z.int().min(0);

/** Fields that completions and chat share. Null means "not given", as the OpenAI clients send it. */
const samplingShape = {
  model: z.string().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  seed: z.int().nullish(),
  n: z.int().min(1).max(maxChoices).nullish(),
  stop: z.union([z.string(), z.array(z.string().min(1)).max(16)]).nullish(),
  stop_token_ids: z.array(tokenId).nullish(),
  min_tokens: z.int().min(0).nullish(),
  ignore_eos: z.boolean().nullish(),
  include_stop_str_in_output: z.boolean().nullish(),
  skip_special_tokens: z.boolean().nullish(),
  logit_bias: z.record(z.string().regex(/^\d+$/), z.number().min(-100).max(100)).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .object({ include_usage: z.boolean().nullish(), continuous_usage_stats: z.boolean().nullish() })
    .nullish(),
  add_special_tokens: z.boolean().nullish(),
  return_token_ids: z.boolean().nullish(),
  user: z.string().nullish(),
  request_id: z.string().max(256).nullish(),
};

export const completionSchema = z.looseObject({
  ...samplingShape,
  prompt: z.union([
    z.string(),
    z.array(z.string()).min(1).max(maxPrompts),
    z.array(tokenId).min(1),
    z.array(z.array(tokenId).min(1)).min(1).max(maxPrompts),
  ]),
  max_tokens: z.int().min(0).nullish(),
  logprobs: z.int().min(0).max(20).nullish(),
  echo: z.boolean().nullish(),
});
export type CompletionBody = z.infer<typeof completionSchema>;

const contentPart = z.looseObject({ type: z.string(), text: z.string().optional() });

const message = z.looseObject({
  role: z.string().min(1),
  content: z.union([z.string(), z.array(contentPart), z.null()]).optional(),
});

export const chatSchema = z.looseObject({
  ...samplingShape,
  messages: z.array(message).min(1),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
  add_generation_prompt: z.boolean().nullish(),
});
export type ChatBody = z.infer<typeof chatSchema>;

export type SharedBody = Pick<CompletionBody & ChatBody, keyof typeof samplingShape>;

/** Known fields that this server does not act on, with the values under which that makes no difference. */
export const neutralValues: Readonly<Record<string, readonly unknown[]>> = {
  frequency_penalty: [0],
  presence_penalty: [0],
  repetition_penalty: [1],
  length_penalty: [1],
  best_of: [1],
  suffix: [""],
  tools: [],
  tool_choice: ["none", "auto"],
  functions: [],
  function_call: ["none", "auto"],
  response_format: [{ type: "text" }],
  structured_outputs: [],
  guided_json: [],
  guided_regex: [],
  guided_choice: [],
  guided_grammar: [],
  use_beam_search: [false],
  prompt_logprobs: [],
  bad_words: [[]],
  allowed_token_ids: [],
  continue_final_message: [false],
  modalities: [["text"]],
  audio: [],
};
