import { MillraceError } from "../../base/errors.ts";
import { defaultSampling, type SamplingParams } from "../../protocol/sampling-params.ts";
import type { ServedModel } from "../served-model.ts";
import type { SharedBody } from "./schemas.ts";

/** The prompt's place in the context: how many tokens may follow. */
export function roomAfter(model: ServedModel, numPromptTokens: number): number {
  const { maxModelLen } = model.client.info;
  if (numPromptTokens < maxModelLen) return maxModelLen - numPromptTokens;
  throw new MillraceError(
    "context_length_exceeded",
    `This model's maximum context length is ${maxModelLen} tokens, but the prompt has ${numPromptTokens}. Shorten it, or start the server with a larger --max-model-len.`,
    { param: "input_tokens" },
  );
}

/** Sampling parameters of a request: its own values, then the model's defaults, then OpenAI's. */
export function samplingOf(
  body: SharedBody,
  model: ServedModel,
  output: { readonly maxTokens: number; readonly logprobs: number | null },
): SamplingParams {
  const defaults = model.generationDefaults;
  const minTokens = body.min_tokens ?? 0;
  if (minTokens > output.maxTokens) {
    throw new MillraceError(
      "invalid_request",
      `min_tokens is ${minTokens}, more than the ${output.maxTokens} tokens that may be generated. Lower it or raise max_tokens.`,
      { param: "min_tokens" },
    );
  }
  return {
    ...defaultSampling,
    maxTokens: output.maxTokens,
    minTokens,
    temperature: body.temperature ?? defaults.temperature ?? 1,
    topP: body.top_p ?? defaults.topP ?? 1,
    topK: Math.max(0, body.top_k ?? defaults.topK ?? 0),
    minP: body.min_p ?? 0,
    seed: body.seed == null ? null : BigInt.asUintN(64, BigInt(body.seed)),
    stopTokenIds: body.stop_token_ids ?? [],
    ignoreEos: body.ignore_eos ?? false,
    logprobs: output.logprobs,
    logitBias: biasOf(body.logit_bias, model),
  };
}

function biasOf(given: SharedBody["logit_bias"], model: ServedModel): ReadonlyMap<number, number> | null {
  if (given == null) return null;
  const { vocabSize } = model.client.info;
  const entries = Object.entries(given).map(([id, value]) => [Number(id), value] as const);
  const bad = entries.find(([id]) => id >= vocabSize);
  if (bad === undefined) return entries.length === 0 ? null : new Map(entries);
  throw new MillraceError(
    "invalid_request",
    `logit_bias names token ${bad[0]}; this model's ids go from 0 to ${vocabSize - 1}.`,
    { param: "logit_bias" },
  );
}

export function stopStringsOf(stop: SharedBody["stop"]): readonly string[] {
  if (stop == null) return [];
  return typeof stop === "string" ? [stop].filter((text) => text !== "") : stop;
}
