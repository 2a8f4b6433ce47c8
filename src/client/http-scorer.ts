import { MillraceError } from "../base/errors.ts";
import type { ScoreRequest, ScoreResult, Scorer } from "../protocol/engine-client.ts";
import type { JsonChannel } from "./json-channel.ts";
import { promptUsageOf } from "./prompt-usage.ts";

export interface HttpScorer extends Scorer {
  /**
   * Proves with one request that the server can score and has the same tokenizer: `tokenIds` decode to `text` here,
   * and must there. Throws `endpoint_unreachable`, `endpoint_failed`.
   */
  check(tokenIds: readonly number[], text: string): Promise<void>;
}

const needs = "Scoring needs token-id prompts with echo and logprobs.";

/**
 * Scores token ids through `POST /v1/completions` with `echo` and `logprobs`, as lm-eval's `local-completions` does:
 * the prompt goes as token ids, one token is generated and dropped. Servers return texts and not ids of the most
 * likely tokens, so `argmax` is the scored token where nothing is more likely, and −1 elsewhere; `topK` must be 0.
 * Throws `endpoint_unreachable` when nothing answers and `endpoint_failed` for a refusal or an answer that breaks
 * the contract.
 */
export function createHttpScorer(channel: JsonChannel, model: string): HttpScorer {
  const path = "/v1/completions";
  const url = channel.urlOf(path);
  const complete = (tokenIds: ScoreRequest["tokenIds"], signal?: AbortSignal): Promise<unknown> => {
    const body = {
      model,
      prompt: [...tokenIds],
      max_tokens: 1,
      temperature: 0,
      logprobs: 1,
      echo: true,
      seed: 1234,
    };
    return channel.post(path, body, { needs, signal });
  };
  return {
    async score(scoreRequest, signal) {
      if (scoreRequest.topK !== 0) {
        throw new MillraceError(
          "invalid_request",
          `Scoring over HTTP has no top token ids, but ${scoreRequest.topK} were asked for. Use topK 0.`,
        );
      }
      return readScores(scoreRequest, await complete(scoreRequest.tokenIds, signal), url);
    },
    async check(tokenIds, text) {
      const answer = await complete(tokenIds);
      readScores({ tokenIds, start: 1, topK: 0 }, answer, url);
      checkEcho(answer, text, url);
    },
  };
}

/** White space at the start is left out: some tokenizers drop it when they decode. */
function checkEcho(answer: unknown, text: string, url: string): void {
  const echoed = firstChoice(answer)?.["text"];
  if (typeof echoed !== "string" || echoed.trimStart().startsWith(text.trimStart())) return;
  throw new MillraceError(
    "endpoint_failed",
    `${url} reads the token ids of ${JSON.stringify(text)} as ${JSON.stringify(echoed.slice(0, 120))}: its tokenizer is another one, so every score would be wrong. Give the tokenizer of the served model with --tokenizer.`,
    { param: "--tokenizer" },
  );
}

/** `logprobs.token_logprobs` has an entry for each prompt token (the first null) and for the generated one. */
function readScores(scoreRequest: ScoreRequest, answer: unknown, url: string): ScoreResult {
  const { tokenIds, start } = scoreRequest;
  const logprobs = firstChoice(answer)?.["logprobs"];
  const values: unknown = isRow(logprobs) ? logprobs["token_logprobs"] : undefined;
  const tops: unknown = isRow(logprobs) ? logprobs["top_logprobs"] : undefined;
  if (!Array.isArray(values) || !Array.isArray(tops))
    throw broken(url, "has no token_logprobs and top_logprobs (echo)");
  if (values.length !== tokenIds.length + 1 && values.length !== tokenIds.length) {
    throw broken(url, `has ${values.length} log-probabilities for a prompt of ${tokenIds.length} tokens`);
  }
  const count = tokenIds.length - start;
  const { numCachedTokens } = promptUsageOf(answer);
  const result: ScoreResult = {
    ...(numCachedTokens === undefined ? {} : { numCachedTokens }),
    logprobs: new Float32Array(count),
    argmax: new Int32Array(count),
    topIds: new Int32Array(0),
    topLogprobs: new Float32Array(0),
  };
  for (let i = 0; i < count; i += 1) {
    const value: unknown = values[start + i];
    const top: unknown = tops[start + i];
    if (typeof value !== "number")
      throw broken(url, `has ${JSON.stringify(value)} for prompt token ${start + i}`);
    result.logprobs[i] = value;
    result.argmax[i] = isRow(top) && isMostLikely(value, top) ? tokenIds[start + i]! : -1;
  }
  return result;
}

function firstChoice(answer: unknown): Readonly<Record<string, unknown>> | null {
  const choices = isRow(answer) ? answer["choices"] : undefined;
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  return isRow(choice) ? choice : null;
}

function isRow(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The token itself stands among the top ones when it is the best, with the same number. */
function isMostLikely(value: number, top: Readonly<Record<string, unknown>>): boolean {
  const best = Math.max(...Object.values(top).filter((logprob) => typeof logprob === "number"));
  return value >= best;
}

function broken(url: string, what: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "endpoint_failed",
    `The answer of ${url} ${what}. Scoring needs completions with echo and logprobs. Use a server that has them.`,
    { cause },
  );
}
