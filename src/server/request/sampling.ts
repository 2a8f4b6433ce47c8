import { MillraceError } from "../../base/errors.ts";
import { defaultSampling, type SamplingParams } from "../../protocol/sampling-params.ts";
import type { ServedModel } from "../served-model.ts";
import { demand } from "./field-errors.ts";
import type { SamplingBody } from "./schemas.ts";
import { checkTokenIds, readTokenRules } from "./token-rules.ts";

/** OpenAI takes 4; evaluation clients send more. */
const maxStopStrings = 64;

/** What a request asks of each of its sequences. */
export interface SequencePlan {
  readonly sampling: SamplingParams;
  readonly stop: readonly string[];
  readonly includeStopInOutput: boolean;
  readonly skipSpecialTokens: boolean;
  /** Choices per prompt. */
  readonly n: number;
}

/**
 * Translates OpenAI's and vLLM's fields. Values that a request leaves out come from the model's own generation
 * config, then from vLLM's defaults. The schema has checked each field's own range. Errors: `invalid_request` naming
 * the field, the value and what is allowed.
 *
 * @param logprobs top log-probabilities per token; null for none
 */
export function planSequences(
  body: SamplingBody,
  model: ServedModel,
  maxTokens: number,
  logprobs: number | null,
): SequencePlan {
  const defaults = model.generationDefaults;
  const temperature = body.temperature ?? defaults.temperature ?? defaultSampling.temperature;
  const topP = body.top_p ?? defaults.topP ?? defaultSampling.topP;
  const topK = body.top_k ?? defaults.topK ?? defaultSampling.topK;
  const minP = body.min_p ?? defaults.minP ?? defaultSampling.minP;
  const minTokens = body.min_tokens ?? 0;
  const n = body.n ?? 1;
  demand(n === 1 || temperature > 0, "n", n, "1 with temperature 0, since all choices would be equal");
  demand(minTokens <= maxTokens, "min_tokens", minTokens, `from 0 to max_tokens (${maxTokens})`);
  return {
    sampling: {
      maxTokens,
      minTokens,
      temperature,
      topP,
      topK: Math.max(0, topK),
      minP,
      // vLLM reads -1 as "no seed".
      seed:
        body.seed === null || body.seed === undefined || body.seed === -1
          ? null
          : unsigned(BigInt(body.seed)),
      stopTokenIds: checkTokenIds(body.stop_token_ids ?? [], "stop_token_ids", model),
      ignoreEos: body.ignore_eos ?? false,
      logprobs,
      ...readTokenRules(body, model),
    },
    stop: readStop(body.stop),
    includeStopInOutput: body.include_stop_str_in_output ?? false,
    skipSpecialTokens: body.skip_special_tokens ?? true,
    n,
  };
}

function unsigned(seed: bigint): bigint {
  return BigInt.asUintN(64, seed);
}

function readStop(stop: SamplingBody["stop"]): readonly string[] {
  const stops = typeof stop === "string" ? [stop] : (stop ?? []);
  demand(stops.length <= maxStopStrings, "stop", stops, `at most ${maxStopStrings} texts`);
  const empty = stops.indexOf("");
  demand(empty === -1, typeof stop === "string" ? "stop" : `stop[${empty}]`, "", "a text that is not empty");
  return stops;
}

/** Errors: `invalid_request` for `stream_options` without `stream`. */
export function checkStreamOptions(body: SamplingBody): void {
  if (body.stream === true || body.stream_options === null || body.stream_options === undefined) return;
  throw new MillraceError(
    "invalid_request",
    "The field stream_options is set but stream is not true. Leave it out, or set stream to true.",
    { param: "stream_options" },
  );
}
