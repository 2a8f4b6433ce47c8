import { MillraceError } from "../base/errors.ts";
import { formatCount } from "../base/units.ts";
import { contextAdvice } from "../protocol/context-advice.ts";
import type { GenerateRequest, ScoreRequest } from "../protocol/engine-client.ts";
import { checkSampling } from "./check-sampling.ts";
import { checkTokenIds, invalidRequest } from "./request-faults.ts";

export interface AdmissionLimits {
  readonly maxModelLen: number;
  readonly maxPositions: number;
  readonly vocabSize: number;
  readonly maxLogprobs: number;
  readonly numBlocks: number;
  readonly blockSize: number;
}

/** Refuses a request that is malformed or can never run. Nothing is clamped or cut. */
export function checkGenerateRequest(request: GenerateRequest, limits: AdmissionLimits): void {
  const { promptTokenIds, sampling } = request;
  if (promptTokenIds.length === 0) {
    throw invalidRequest("prompt", "The prompt has no tokens; at least one is needed. Send some text.");
  }
  checkTokenIds(promptTokenIds, "prompt", limits.vocabSize);
  checkSampling(sampling, limits);
  if (request.mask !== undefined && sampling.allowedTokenIds !== null) {
    throw invalidRequest(
      "allowed_token_ids",
      "A request names allowed token ids and has a grammar; the grammar alone says which tokens may come. Leave one out.",
    );
  }
  const total = promptTokenIds.length + sampling.maxTokens;
  if (total > limits.maxModelLen) {
    throw new MillraceError(
      "context_length_exceeded",
      `This model's maximum context length is ${limits.maxModelLen} tokens. The request has ${promptTokenIds.length} ` +
        `prompt tokens and asks for ${sampling.maxTokens} output tokens, ${total} in total. ` +
        contextAdvice("Shorten the prompt or ask for fewer tokens", total, limits),
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
    throw invalidRequest(
      "start",
      `A score starts at token ${start}; it takes 1 to ${tokenIds.length - 1}, since the first token has nothing before it.`,
    );
  }
  if (!Number.isInteger(topK) || topK < 0 || topK > limits.vocabSize) {
    throw invalidRequest("topK", `topK is ${topK}; it takes 0 to ${limits.vocabSize}, the vocabulary size.`);
  }
  if (tokenIds.length - 1 > limits.maxModelLen) {
    throw new MillraceError(
      "context_length_exceeded",
      `This model's maximum context length is ${limits.maxModelLen} tokens, so ${limits.maxModelLen + 1} can be scored. ` +
        `The request has ${tokenIds.length}. ${contextAdvice("Split it", tokenIds.length - 1, limits)}`,
      { param: "tokenIds" },
    );
  }
  checkBlocks(tokenIds.length - 1, limits);
}

function checkBlocks(numTokens: number, limits: AdmissionLimits): void {
  const needed = Math.ceil(numTokens / limits.blockSize);
  if (needed <= limits.numBlocks) return;
  throw new MillraceError(
    "request_never_fits",
    `The request needs ${formatCount(needed)} KV blocks of ${limits.blockSize} tokens; the whole cache has ` +
      `${formatCount(limits.numBlocks)}. Ask for fewer tokens, or start with more by --kv-cache-memory-bytes or --memory-utilization.`,
    { param: "max_tokens" },
  );
}
