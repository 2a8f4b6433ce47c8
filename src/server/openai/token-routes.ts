import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import type { Answer, Exchange, ServerContext } from "../context.ts";
import { renderChat } from "./chat.ts";
import { readBody } from "./read-body.ts";
import { chatSchema } from "./schemas.ts";

const tokenizeSchema = z.looseObject({
  model: z.string().nullish(),
  prompt: z.string().nullish(),
  messages: chatSchema.shape.messages.nullish(),
  add_special_tokens: z.boolean().nullish(),
  add_generation_prompt: z.boolean().nullish(),
  return_token_strs: z.boolean().nullish(),
});

const detokenizeSchema = z.looseObject({
  model: z.string().nullish(),
  tokens: z.array(z.int().min(0)),
});

/** POST /tokenize, as vLLM has it. */
export async function tokenize(context: ServerContext, exchange: Exchange): Promise<Answer> {
  const { body } = readBody(exchange.text, tokenizeSchema, context.isStrict);
  const model = context.models.find(body.model ?? undefined);
  let tokens: number[];
  if (body.messages != null) {
    const { messages, add_generation_prompt } = body;
    tokens = renderChat({ messages, add_generation_prompt, chat_template_kwargs: null }, model);
  } else if (body.prompt != null) {
    tokens = model.tokenizer.encode(body.prompt, { addSpecialTokens: body.add_special_tokens ?? true });
  } else {
    throw new MillraceError("invalid_request", "tokenize takes prompt or messages.", { param: "prompt" });
  }
  const token_strs =
    body.return_token_strs === true ? tokens.map((id) => model.tokenizer.tokenText(id)) : null;
  const answer = { count: tokens.length, max_model_len: model.client.info.maxModelLen, tokens, token_strs };
  return { kind: "json", body: answer, headers: {} };
}

/** POST /detokenize, as vLLM has it. */
export async function detokenize(context: ServerContext, exchange: Exchange): Promise<Answer> {
  const { body } = readBody(exchange.text, detokenizeSchema, context.isStrict);
  const model = context.models.find(body.model ?? undefined);
  const prompt = model.tokenizer.decode(body.tokens, { skipSpecialTokens: false });
  return { kind: "json", body: { prompt }, headers: {} };
}
