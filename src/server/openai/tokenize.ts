import { MillraceError } from "../../base/errors.ts";
import { type HttpContext, jsonResponse, readJsonObject } from "../http-context.ts";
import type { ServerContext } from "../server-context.ts";
import { encodeChat } from "./chat-prompt.ts";
import { checkFields, warningsHeader } from "./field-support.ts";
import { encodeText } from "./prompts.ts";
import { checkTokenIds } from "./sampling.ts";
import { detokenizeSchema, parseBody, tokenizeSchema } from "./schemas.ts";

const tokenizeFields: ReadonlySet<string> = new Set(Object.keys(tokenizeSchema.shape));
const detokenizeFields: ReadonlySet<string> = new Set(Object.keys(detokenizeSchema.shape));

async function readBody(
  c: HttpContext,
  context: ServerContext,
  known: ReadonlySet<string>,
): Promise<Record<string, unknown>> {
  const raw = await readJsonObject(c, context.maxBodyBytes);
  const warnings = warningsHeader(checkFields(raw, known, context));
  if (warnings !== undefined) c.get("headers")["x-millrace-warnings"] = warnings;
  return raw;
}

/** `POST /tokenize`: a prompt, or messages as the chat template renders them. */
export async function handleTokenize(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const body = parseBody(tokenizeSchema, await readBody(c, context, tokenizeFields));
  const model = registry.resolve(body.model);
  const { prompt, messages } = body;
  const hasPrompt = prompt !== null && prompt !== undefined;
  const hasMessages = messages !== null && messages !== undefined;
  if (hasPrompt === hasMessages) {
    throw new MillraceError("invalid_request", "Give either prompt or messages, and not both.", {
      param: "prompt",
    });
  }
  const tokens = hasMessages
    ? encodeChat(messages, body, model)
    : encodeText(prompt ?? "", model, body.add_special_tokens ?? true);
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
  const body = parseBody(detokenizeSchema, await readBody(c, context, detokenizeFields));
  const model = registry.resolve(body.model);
  const tokens = checkTokenIds(body.tokens, "tokens", model);
  return jsonResponse(c, { prompt: model.tokenizer.decode(tokens, { skipSpecialTokens: false }) });
}
