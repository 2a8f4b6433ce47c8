import { MillraceError } from "../../base/errors.ts";
import { contextAdvice } from "../../protocol/context-advice.ts";
import type { ServedModel } from "../served-model.ts";
import { demand, invalidField } from "./field-errors.ts";
import type { CompletionBody, PromptBody } from "./schemas.ts";
import { checkTokenIds } from "./token-rules.ts";

/** Most prompts of one completion request, as vLLM has it. */
const maxPrompts = 1024;

export interface Prompt {
  /** Where it stands in the request: `prompt`, `prompt[3]` or `messages`. */
  readonly param: string;
  /** What the client sent, or null when it sent token ids or messages. */
  readonly text: string | null;
  readonly tokenIds: readonly number[];
}

/** Most tokens of one answer, as the request says it. */
export interface OutputLimit {
  /** Null = what the prompt leaves of the context. */
  readonly maxTokens: number | null;
  /** The field that asks for it; null = a default. */
  readonly param: string | null;
}

/** Splits the four forms of `prompt` into prompts. Errors: `invalid_request`, `context_length_exceeded`. */
export function readPrompts(body: CompletionBody, model: ServedModel): Prompt[] {
  const { prompt } = body;
  const addSpecialTokens = body.add_special_tokens ?? true;
  if (!isList(prompt)) return [readPrompt(prompt, "prompt", addSpecialTokens, model)];
  demand(
    prompt.length <= maxPrompts,
    "prompt",
    prompt,
    `at most ${maxPrompts} prompts (here ${prompt.length})`,
  );
  return prompt.map((item, at) => readPrompt(item, `prompt[${at}]`, addSpecialTokens, model));
}

function isList(prompt: PromptBody): prompt is readonly string[] | readonly (readonly number[])[] {
  return typeof prompt !== "string" && typeof prompt[0] !== "number";
}

function readPrompt(
  prompt: string | readonly number[],
  param: string,
  addSpecialTokens: boolean,
  model: ServedModel,
): Prompt {
  if (typeof prompt !== "string") return { param, text: null, tokenIds: checkTokenIds(prompt, param, model) };
  return { param, text: prompt, tokenIds: encodeText(prompt, param, addSpecialTokens, model) };
}

/**
 * Token ids of a text, however many. A text that cannot fit by its length alone is refused before it is tokenised,
 * which would hold up every other request. Errors: `context_length_exceeded`; `invalid_request` for half a character.
 */
export function encodeText(
  text: string,
  param: string,
  addSpecialTokens: boolean,
  model: ServedModel,
): readonly number[] {
  const { maxModelLen } = model.client.info;
  if (text.length > maxModelLen) {
    const leastTokens = Math.ceil(text.length / longestToken(model));
    if (leastTokens > maxModelLen) {
      throw new MillraceError(
        "context_length_exceeded",
        `This model's maximum context length is ${maxModelLen} tokens. The prompt has ${text.length} characters, ` +
          `which are ${leastTokens} tokens or more. ${contextAdvice("Shorten the prompt", leastTokens + 1, model.client.info)}`,
        { param },
      );
    }
  }
  const broken = text.search(/\p{Surrogate}/u);
  demand(
    broken === -1,
    param,
    text,
    `a text of whole characters (at ${broken} stands half a surrogate pair)`,
  );
  return model.tokenizer.encode(text, { addSpecialTokens });
}

/**
 * Errors: `context_length_exceeded` when prompt and answer do not fit, naming the field to change; the words are
 * those that clients look for. `invalid_request` for a prompt without tokens.
 */
export function checkContext(prompt: Prompt, limit: OutputLimit, model: ServedModel): void {
  const { maxModelLen } = model.client.info;
  const numTokens = prompt.tokenIds.length;
  if (numTokens === 0) throw invalidField(prompt.param, prompt.text ?? [], "at least one token long");
  const asked = limit.maxTokens ?? 1;
  const total = numTokens + asked;
  if (total <= maxModelLen) return;
  const room = maxModelLen - numTokens;
  // An echo alone fits where not even one token more does.
  const isPromptTooLong = room < Math.min(asked, 1);
  const remedy = isPromptTooLong ? "Shorten the prompt" : "Shorten the prompt or ask for fewer tokens";
  throw new MillraceError(
    "context_length_exceeded",
    `This model's maximum context length is ${maxModelLen} tokens. ${foundText(numTokens, limit, room)} ` +
      contextAdvice(remedy, total, model.client.info),
    { param: limit.param === null || isPromptTooLong ? prompt.param : limit.param },
  );
}

function foundText(numTokens: number, { maxTokens, param }: OutputLimit, room: number): string {
  if (maxTokens === null) return `The prompt has ${numTokens} tokens, which leaves none for the answer.`;
  const found =
    `The prompt has ${numTokens} tokens and you asked for ${maxTokens} output tokens` +
    `${param === null ? " (the default)" : ""}, ${numTokens + maxTokens} in all`;
  return room < 1 ? `${found}.` : `${found}; with this prompt ${param ?? "max_tokens"} takes 1 to ${room}.`;
}

const longestTokens = new WeakMap<ServedModel, number>();

/** Bytes of the vocabulary's longest token; read once per model, when a long text asks for it. */
function longestToken(model: ServedModel): number {
  let longest = longestTokens.get(model);
  if (longest === undefined) {
    longest = 1;
    for (let id = 0; id < model.tokenizer.vocabSize; id += 1) {
      longest = Math.max(longest, model.tokenizer.tokenBytes(id)?.length ?? 0);
    }
    longestTokens.set(model, longest);
  }
  return longest;
}
