import { maxBadWords, type SamplingParams } from "../protocol/sampling-params.ts";
import { checkRange, checkTokenIds, invalidRequest } from "./request-faults.ts";

export interface SamplingLimits {
  readonly vocabSize: number;
  readonly maxLogprobs: number;
}

/** Most bias of one token on either side; far beyond any logit, and sums stay finite in f32. */
const maxBias = 1e6;

/** Refuses sampling parameters outside their ranges, which are vLLM's. Nothing is clamped. Errors: `invalid_request`. */
export function checkSampling(sampling: SamplingParams, limits: SamplingLimits): void {
  checkLengths(sampling);
  checkDraw(sampling, limits);
  checkPenalties(sampling);
  checkTokenIds(sampling.stopTokenIds, "stop_token_ids", limits.vocabSize);
  checkBiases(sampling.logitBias, limits);
  checkBadWords(sampling.badWords, limits);
  checkAllowed(sampling, limits);
}

function checkLengths({ maxTokens, minTokens }: SamplingParams): void {
  checkRange("max_tokens", maxTokens, Number.isInteger(maxTokens) && maxTokens >= 1, "a whole number from 1");
  checkRange(
    "min_tokens",
    minTokens,
    Number.isInteger(minTokens) && minTokens >= 0 && minTokens <= maxTokens,
    `a whole number from 0 to max_tokens (${maxTokens})`,
  );
}

function checkDraw(sampling: SamplingParams, { maxLogprobs }: SamplingLimits): void {
  const { temperature, topP, topK, minP, logprobs, seed } = sampling;
  checkRange(
    "temperature",
    temperature,
    temperature >= 0 && temperature <= 2,
    "a number from 0 (greedy) to 2",
  );
  checkRange("top_p", topP, topP > 0 && topP <= 1, "a number above 0 and up to 1");
  checkRange(
    "top_k",
    topK,
    Number.isInteger(topK) && topK >= 0 && topK <= 0x7fffffff,
    "a whole number from 0 (all)",
  );
  checkRange("min_p", minP, minP >= 0 && minP <= 1, "a number from 0 to 1");
  const isLogprobs =
    logprobs === null || (Number.isInteger(logprobs) && logprobs >= 0 && logprobs <= maxLogprobs);
  checkRange("logprobs", logprobs, isLogprobs, `a whole number from 0 to ${maxLogprobs}`);
  const isSeed = seed === null || (typeof seed === "bigint" && seed >= 0n && seed < 1n << 64n);
  checkRange("seed", seed, isSeed, "a whole number from 0 to 2^64 − 1, as a bigint such as 7n");
}

function checkPenalties(sampling: SamplingParams): void {
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = sampling;
  // It must still be above 0 and finite as the f32 that the kernels take.
  const inKernel = Math.fround(repetitionPenalty);
  const isFactor = inKernel > 0 && inKernel < Infinity;
  checkRange("repetition_penalty", repetitionPenalty, isFactor, "a number above 0 (1 = none)");
  for (const [param, value] of [
    ["frequency_penalty", frequencyPenalty],
    ["presence_penalty", presencePenalty],
  ] as const) {
    checkRange(param, value, value >= -2 && value <= 2, "a number from -2 to 2");
  }
}

function checkBiases(biases: SamplingParams["logitBias"], { vocabSize }: SamplingLimits): void {
  if (biases === null) return;
  checkTokenIds([...biases.keys()], "logit_bias", vocabSize);
  for (const [id, value] of biases) {
    const isBias = value === -Infinity || Math.abs(value) <= maxBias;
    checkRange(
      `logit_bias[${id}]`,
      value,
      isBias,
      `a number from -${maxBias} to ${maxBias}, or −Infinity to ban it`,
    );
  }
}

function checkBadWords(words: readonly (readonly number[])[], { vocabSize }: SamplingLimits): void {
  checkRange(
    "bad_words",
    `a list of ${words.length}`,
    words.length <= maxBadWords,
    `at most ${maxBadWords} words`,
  );
  for (const [index, word] of words.entries()) {
    const param = `bad_words[${index}]`;
    checkRange(param, "empty", word.length > 0, "at least one token");
    checkTokenIds(word, param, vocabSize);
  }
}

function checkAllowed(sampling: SamplingParams, { vocabSize }: SamplingLimits): void {
  const { allowedTokenIds, badWords, logitBias } = sampling;
  if (allowedTokenIds === null) return;
  checkRange("allowed_token_ids", "empty", allowedTokenIds.length > 0, "at least one token id");
  checkTokenIds(allowedTokenIds, "allowed_token_ids", vocabSize);
  const banned = new Set(badWords.filter((word) => word.length === 1).map(([id]) => id));
  for (const [id, value] of logitBias ?? []) if (value === -Infinity) banned.add(id);
  if (allowedTokenIds.some((id) => !banned.has(id))) return;
  throw invalidRequest(
    "allowed_token_ids",
    `All ${allowedTokenIds.length} allowed_token_ids are banned by bad_words or logit_bias too, so that no token is left; ` +
      "at least one must be. Allow another token or ban fewer.",
  );
}
