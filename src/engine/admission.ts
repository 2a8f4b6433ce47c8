import { MillraceError } from "../base/errors.ts";
import { formatCount } from "../base/units.ts";
import type { GenerateRequest, ScoreRequest } from "../protocol/engine-client.ts";
import type { SamplingParams } from "../protocol/sampling-params.ts";

export interface AdmissionLimits {
  readonly maxModelLen: number;
  readonly vocabSize: number;
  readonly maxLogprobs: number;
  readonly numBlocks: number;
  readonly blockSize: number;
  readonly maxNumQueuedRequests: number;
}

/** Refuses a request that is malformed or can never run. Nothing is clamped or cut. */
export function checkGenerateRequest(request: GenerateRequest, limits: AdmissionLimits): void {
  const { promptTokenIds, sampling } = request;
  if (promptTokenIds.length === 0) {
    throw invalid("prompt", "The prompt has no tokens; at least one is needed. Send some text.");
  }
  checkTokenIds(promptTokenIds, "prompt", limits.vocabSize);
  checkSampling(sampling, limits);
  const total = promptTokenIds.length + sampling.maxTokens;
  if (total > limits.maxModelLen) {
    throw new MillraceError(
      "context_length_exceeded",
      `This model's maximum context length is ${limits.maxModelLen} tokens. The request has ${promptTokenIds.length} ` +
        `prompt tokens and asks for ${sampling.maxTokens} output tokens, ${total} in total. Shorten the prompt, ask ` +
        "for fewer tokens, or start with a larger --max-model-len.",
      { param: "max_tokens" },
    );
  }
  // The last drawn token is never computed.
  checkBlocks(total - 1, limits);
}

/** Refuses a score request that is malformed or can never run. Its last token is not computed. */
export function checkScoreRequest(request: ScoreRequest, limits: AdmissionLimits): void {
  const { tokenIds, start, topK } = request;
  checkTokenIds(tokenIds, "tokenIds", limits.vocabSize);
  if (!Number.isInteger(start) || start < 1 || start >= tokenIds.length) {
    throw invalid(
      "start",
      `A score starts at token ${start}; it takes 1 to ${tokenIds.length - 1}, since the first token has nothing before it.`,
    );
  }
  if (!Number.isInteger(topK) || topK < 0 || topK > limits.vocabSize) {
    throw invalid("topK", `topK is ${topK}; it takes 0 to ${limits.vocabSize}, the vocabulary size.`);
  }
  if (tokenIds.length - 1 > limits.maxModelLen) {
    throw new MillraceError(
      "context_length_exceeded",
      `This model's maximum context length is ${limits.maxModelLen} tokens, so ${limits.maxModelLen + 1} can be scored. ` +
        `The request has ${tokenIds.length}. Split it, or start with a larger --max-model-len.`,
      { param: "tokenIds" },
    );
  }
  checkBlocks(tokenIds.length - 1, limits);
}

/** Refuses a request while the waiting queue is full. */
export function checkQueue(numWaiting: number, limits: AdmissionLimits): void {
  if (numWaiting < limits.maxNumQueuedRequests) return;
  throw new MillraceError(
    "engine_overloaded",
    `${formatCount(numWaiting)} requests wait already; the queue takes ${formatCount(limits.maxNumQueuedRequests)}. ` +
      "Try again later, or start with a larger --max-num-queued-reqs.",
    { retryAfterSeconds: 1 },
  );
}

function checkBlocks(numTokens: number, limits: AdmissionLimits): void {
  const needed = Math.ceil(numTokens / limits.blockSize);
  if (needed <= limits.numBlocks) return;
  throw new MillraceError(
    "request_never_fits",
    `The request needs ${formatCount(needed)} KV blocks of ${limits.blockSize} tokens; the whole cache has ` +
      `${formatCount(limits.numBlocks)}. Ask for fewer tokens, or start with a larger --kv-cache-memory-bytes.`,
    { param: "max_tokens" },
  );
}

function checkTokenIds(ids: readonly number[] | Int32Array, param: string, vocabSize: number): void {
  for (let index = 0; index < ids.length; index += 1) {
    const id = ids[index]!;
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
    throw invalid(
      param,
      `Token ${index} of ${param} is ${id}; ids are 0 to ${vocabSize - 1}. Encode the text with this model's own tokenizer.`,
    );
  }
}

function checkSampling(sampling: SamplingParams, limits: AdmissionLimits): void {
  const { maxTokens, minTokens, temperature, topP, topK, minP, logprobs, seed } = sampling;
  checkRange("max_tokens", maxTokens, Number.isInteger(maxTokens) && maxTokens >= 1, "a whole number from 1");
  checkRange(
    "min_tokens",
    minTokens,
    Number.isInteger(minTokens) && minTokens >= 0 && minTokens <= maxTokens,
    `a whole number from 0 to max_tokens (${maxTokens})`,
  );
  checkRange("temperature", temperature, Number.isFinite(temperature) && temperature >= 0, "a number from 0");
  checkRange("top_p", topP, topP > 0 && topP <= 1, "a number above 0 and up to 1");
  checkRange(
    "top_k",
    topK,
    Number.isInteger(topK) && topK >= 0 && topK <= 0x7fffffff,
    "a whole number from 0 (all)",
  );
  checkRange("min_p", minP, minP >= 0 && minP <= 1, "a number from 0 to 1");
  const isLogprobs =
    logprobs === null || (Number.isInteger(logprobs) && logprobs >= 0 && logprobs <= limits.maxLogprobs);
  checkRange("logprobs", logprobs, isLogprobs, `a whole number from 0 to ${limits.maxLogprobs}`);
  checkRange("seed", seed, seed === null || (seed >= 0n && seed < 1n << 64n), "0 to 2^64 − 1");
  checkTokenIds(sampling.stopTokenIds, "stop_token_ids", limits.vocabSize);
  if (sampling.logitBias === null) return;
  checkTokenIds([...sampling.logitBias.keys()], "logit_bias", limits.vocabSize);
  for (const [id, value] of sampling.logitBias) {
    checkRange(
      `logit_bias[${id}]`,
      value,
      !Number.isNaN(value) && value < Infinity,
      "a number; −Infinity bans a token",
    );
  }
}

function checkRange(param: string, value: unknown, isAllowed: boolean, allowed: string): void {
  if (!isAllowed)
    throw invalid(param, `${param} is ${String(value)}; it takes ${allowed}. Change it or leave it out.`);
}

function invalid(param: string, message: string): MillraceError {
  return new MillraceError("invalid_request", message, { param });
}
