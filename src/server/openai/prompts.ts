import { MillraceError } from "../../base/errors.ts";
import type { ServedModel } from "../served-model.ts";
import { checkTokenIds } from "./sampling.ts";
import type { CompletionBody } from "./schemas.ts";

/** Most prompts of one completion request, as vLLM has it. */
const maxPrompts = 1024;

export interface Prompt {
  /** What the client sent, or null when it sent token ids. */
  readonly text: string | null;
  readonly tokenIds: readonly number[];
}

/** Splits the four forms of `prompt` into prompts. Errors: `invalid_request`, `context_length_exceeded`. */
export function readPrompts(body: CompletionBody, model: ServedModel): Prompt[] {
  const { prompt } = body;
  const list: readonly (string | readonly number[])[] =
    typeof prompt === "string"
      ? [prompt]
      : typeof prompt[0] === "number"
        ? [prompt as readonly number[]]
        : (prompt as readonly (string | readonly number[])[]);
  if (list.length > maxPrompts) {
    throw new MillraceError(
      "invalid_request",
      `The field prompt holds ${list.length} prompts; at most ${maxPrompts} are allowed. Send several requests.`,
      { param: "prompt" },
    );
  }
  const addSpecialTokens = body.add_special_tokens ?? true;
  return list.map((item) =>
    typeof item === "string"
      ? { text: item, tokenIds: encodeText(item, model, addSpecialTokens) }
      : { text: null, tokenIds: checkLength(checkTokenIds(item, "prompt", model), model) },
  );
}

/**
 * Token ids of a text. A text that cannot fit by its length alone is refused before it is tokenised, which would
 * hold up every other request. Errors: `context_length_exceeded`, `invalid_request` for an empty prompt.
 */
export function encodeText(text: string, model: ServedModel, addSpecialTokens: boolean): readonly number[] {
  const { tokenizer } = model;
  const { maxModelLen } = model.client.info;
  if (text.length > maxModelLen && text.length > maxModelLen * longestToken(model)) {
    throw new MillraceError(
      "context_length_exceeded",
      `This model's maximum context length is ${maxModelLen} tokens. The prompt has ${text.length} characters ` +
        "and cannot fit, whatever they are. Shorten the prompt.",
      { param: "input_text" },
    );
  }
  return checkLength(tokenizer.encode(text, { addSpecialTokens }), model);
}

function checkLength(tokenIds: readonly number[], model: ServedModel): readonly number[] {
  if (tokenIds.length === 0) {
    throw new MillraceError("invalid_request", "The prompt is empty. Send at least one token.", {
      param: "prompt",
    });
  }
  checkContext(tokenIds.length, 0, model);
  return tokenIds;
}

/** Errors: `context_length_exceeded` when prompt and answer do not fit. The words are those that clients look for. */
export function checkContext(promptTokens: number, maxTokens: number, model: ServedModel): void {
  const { maxModelLen } = model.client.info;
  const total = promptTokens + maxTokens;
  if (total <= maxModelLen) return;
  throw new MillraceError(
    "context_length_exceeded",
    `This model's maximum context length is ${maxModelLen} tokens. You asked for ${maxTokens} output tokens and ` +
      `the prompt has ${promptTokens} tokens, ${total} in all. ` +
      "Shorten the prompt, ask for fewer tokens, or start the server with a larger --max-model-len.",
    { param: "input_tokens" },
  );
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
