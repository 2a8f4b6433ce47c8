import { defaultSampling, maxBadWords, type SamplingParams } from "../../protocol/sampling-params.ts";
import { encodeBadWords } from "../../text/bad-words.ts";
import type { ServedModel } from "../served-model.ts";
import { demand } from "./field-errors.ts";
import type { SamplingBody } from "./schemas.ts";

/** Characters of all bad words of a request together: each is tokenised twice before anything else is done. */
const maxBadWordsLength = 50_000;

/** The parts of the sampling parameters that make single tokens likelier, less likely or impossible. */
type TokenRules = Pick<
  SamplingParams,
  "repetitionPenalty" | "frequencyPenalty" | "presencePenalty" | "allowedTokenIds" | "badWords" | "logitBias"
>;

/** Ranges and defaults are vLLM's. Errors: `invalid_request` naming the field. */
export function readTokenRules(body: SamplingBody, model: ServedModel): TokenRules {
  return {
    repetitionPenalty:
      body.repetition_penalty ??
      model.generationDefaults.repetitionPenalty ??
      defaultSampling.repetitionPenalty,
    frequencyPenalty: body.frequency_penalty ?? defaultSampling.frequencyPenalty,
    presencePenalty: body.presence_penalty ?? defaultSampling.presencePenalty,
    allowedTokenIds: readAllowed(body.allowed_token_ids, model),
    badWords: readBadWords(body.bad_words ?? [], model),
    logitBias: readLogitBias(body.logit_bias, model),
  };
}

/** Errors: `invalid_request` for an id outside the vocabulary. */
export function checkTokenIds(ids: readonly number[], param: string, model: ServedModel): readonly number[] {
  const { vocabSize } = model.client.info;
  const wrong = ids.findIndex((id) => id >= vocabSize);
  const allowed = `a token id of the model's vocabulary (0 to ${vocabSize - 1})`;
  demand(wrong === -1, `${param}[${wrong}]`, ids[wrong], allowed);
  return ids;
}

function readAllowed(ids: SamplingBody["allowed_token_ids"], model: ServedModel): readonly number[] | null {
  if (ids === null || ids === undefined) return null;
  demand(ids.length > 0, "allowed_token_ids", ids, "a list of at least one token id");
  return checkTokenIds(ids, "allowed_token_ids", model);
}

function readBadWords(words: readonly string[], model: ServedModel): readonly (readonly number[])[] {
  demand(
    words.length <= maxBadWords,
    "bad_words",
    words,
    `at most ${maxBadWords} texts (here ${words.length})`,
  );
  const length = words.reduce((sum, word) => sum + word.length, 0);
  const allowed = `at most ${maxBadWordsLength} characters together (here ${length})`;
  demand(length <= maxBadWordsLength, "bad_words", words, allowed);
  const encoded = encodeBadWords(words, model.tokenizer);
  demand(
    encoded.length <= maxBadWords,
    "bad_words",
    words,
    `at most ${maxBadWords} words, those with a space before them counted too (here ${encoded.length})`,
  );
  return encoded;
}

function readLogitBias(
  bias: SamplingBody["logit_bias"],
  model: ServedModel,
): ReadonlyMap<number, number> | null {
  const entries = Object.entries(bias ?? {});
  if (entries.length === 0) return null;
  const { vocabSize } = model.client.info;
  return new Map(
    entries.map(([key, value]) => {
      const isId = /^\d{1,9}$/.test(key) && Number(key) < vocabSize;
      demand(isId, "logit_bias", { [key]: value }, `keyed by token ids (0 to ${vocabSize - 1})`);
      demand(value >= -100 && value <= 100, `logit_bias.${key}`, value, "from -100 to 100");
      return [Number(key), value];
    }),
  );
}
