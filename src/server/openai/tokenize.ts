import { MillraceError } from "../../base/errors.ts";
import { type HttpContext, jsonResponse } from "../http-context.ts";
import { encodeChat } from "../request/chat-prompt.ts";
import { encodeText } from "../request/prompts.ts";
import { readBody } from "../request/request-body.ts";
import { detokenizeSchema, tokenizeSchema } from "../request/schemas.ts";
import { checkTokenIds } from "../request/token-rules.ts";
import type { ServerContext } from "../server-context.ts";

/** `POST /tokenize`: a prompt, or messages as the chat template renders them. */
export async function handleTokenize(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const body = await readBody(c, context, tokenizeSchema);
  const model = registry.resolve(body.model);
  const { prompt, messages } = body;
  const hasPrompt = prompt !== null && prompt !== undefined;
  const hasMessages = messages !== null && messages !== undefined;
  if (hasPrompt === hasMessages) {
    const seen = hasPrompt ? "both prompt and messages" : "neither prompt nor messages";
    throw new MillraceError("invalid_request", `The request has ${seen}; it takes one of them.`, {
      param: hasPrompt ? "messages" : "prompt",
    });
  }
  const tokens = hasMessages
    ? encodeChat(messages, body, model).tokenIds
    : encodeText(prompt ?? "", "prompt", body.add_special_tokens ?? true, model);
  return jsonResponse(c, {
    count: tokens.length,
    max_model_len: model.client.info.maxModelLen,
    tokens,
    token_strs: body.return_token_strs === true ? tokens.map((id) => model.tokenizer.tokenText(id)) : null,
  });
}

/** `POST /detokenize`. */
export async function handleDetokenize(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const body = await readBody(c, context, detokenizeSchema);
  const model = registry.resolve(body.model);
  const tokens = checkTokenIds(body.tokens, "tokens", model);
  return jsonResponse(c, { prompt: model.tokenizer.decode(tokens, { skipSpecialTokens: false }) });
}

/**
 * `GET /tokenizer_info`, with `?model=` where several are served: what a harness that has no tokenizer of its own needs
 * besides the two above (lm-eval's `tokenizer_backend=remote`). Names as in `tokenizer_config.json`.
 */
export function handleTokenizerInfo(c: HttpContext, context: ServerContext): Response {
  const { tokenizer, chatTemplate, client } = context.registry().resolve(c.req.query("model"));
  const textOf = (id: number | null | undefined): string | null =>
    id == null ? null : tokenizer.tokenText(id);
  return jsonResponse(c, {
    bos_token: textOf(tokenizer.bosTokenId),
    eos_token: textOf(tokenizer.eosTokenIds[0]),
    pad_token: null,
    chat_template: (chatTemplate ?? tokenizer.chatTemplate)?.source ?? null,
    model_max_length: client.info.maxModelLen,
  });
}
