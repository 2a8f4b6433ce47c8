import type { Question } from "../generation/dialect.ts";
import type { ServedModel } from "../served-model.ts";
import { type ChatAnswerRules, readAnswerRules, readsSpecialTokens } from "./answer-rules.ts";
import { encodeChat } from "./chat-prompt.ts";
import { demand } from "./field-errors.ts";
import type { OutputLimit } from "./prompts.ts";
import type { ChatBody } from "./schemas.ts";

export interface ChatQuestion extends Question {
  readonly rules: ChatAnswerRules;
}

/** What a chat asks for, whichever dialect it came in. */
export function askChat(body: ChatBody, model: ServedModel): ChatQuestion {
  const limit = readLimit(body);
  const logprobs = readLogprobs(body);
  const { text, tokenIds } = encodeChat(body.messages, body, model);
  const rules = readAnswerRules(body, model, text);
  return {
    prompts: [{ param: "messages", text: null, tokenIds }],
    limit,
    logprobs,
    rules,
    forced: rules.forced,
    readsSpecialTokens: readsSpecialTokens(rules, model),
  };
}

function readLimit(body: ChatBody): OutputLimit {
  const isNew = typeof body.max_completion_tokens === "number";
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? null;
  if (maxTokens === null) return { maxTokens, param: null };
  const isOne = !isNew || maxTokens === (body.max_tokens ?? maxTokens);
  demand(isOne, "max_tokens", body.max_tokens, `left out, or equal to max_completion_tokens (${maxTokens})`);
  return { maxTokens, param: isNew ? "max_completion_tokens" : "max_tokens" };
}

function readLogprobs(body: ChatBody): number | null {
  const top = body.top_logprobs ?? 0;
  demand(top === 0 || body.logprobs === true, "top_logprobs", top, "left out unless logprobs is true");
  return body.logprobs === true ? top : null;
}
