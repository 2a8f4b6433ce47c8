import { setTimeout as wait } from "node:timers/promises";
import { Agent, request } from "undici";
import { MillraceError, messageOf } from "../base/errors.ts";
import type { ScoreRequest, ScoreResult, Scorer } from "../protocol/engine-client.ts";
import { isRow } from "./row-reader.ts";

export interface HttpScorerOptions {
  /** Base URL, with or without `/v1`. */
  readonly url: string;
  /** Name of the model as the server knows it. */
  readonly model: string;
  readonly apiKey?: string;
  /** Open connections at most; default 8. */
  readonly concurrency?: number;
  readonly timeoutMs?: number;
}

export interface HttpScorer extends Scorer {
  close(): Promise<void>;
}

const attempts = 3;

/**
 * Scores token ids through `POST /v1/completions` with `echo` and `logprobs`, as lm-eval's `local-completions` does:
 * the prompt goes as token ids, one token is generated and dropped. Servers return texts and not ids of the most
 * likely tokens, so `argmax` is the scored token where nothing is more likely, and −1 elsewhere; `topK` must be 0.
 * Throws `endpoint_unreachable` when nothing answers and `endpoint_failed` for a refusal or an answer that breaks
 * the contract.
 */
export function createHttpScorer(options: HttpScorerOptions): HttpScorer {
  const endpoint = `${options.url.replace(/\/+$/, "").replace(/\/v1$/, "")}/v1/completions`;
  const timeout = options.timeoutMs ?? 300_000;
  const dispatcher = new Agent({
    connections: options.concurrency ?? 8,
    headersTimeout: timeout,
    bodyTimeout: timeout,
  });
  return {
    async score(scoreRequest) {
      if (scoreRequest.topK !== 0) {
        throw new MillraceError(
          "invalid_request",
          `Scoring over HTTP has no top token ids, but ${scoreRequest.topK} were asked for. Use topK 0.`,
        );
      }
      const body = JSON.stringify({
        model: options.model,
        prompt: [...scoreRequest.tokenIds],
        max_tokens: 1,
        temperature: 0,
        logprobs: 1,
        echo: true,
        seed: 1234,
      });
      const answer = await send({ endpoint, body, apiKey: options.apiKey, dispatcher });
      return readScores(scoreRequest, answer, endpoint);
    },
    close: () => dispatcher.close(),
  };
}

interface Exchange {
  readonly endpoint: string;
  readonly body: string;
  readonly apiKey: string | undefined;
  readonly dispatcher: Agent;
}

/** One exchange; an overloaded or unreachable server is asked again, a refusal is final. */
async function send(exchange: Exchange): Promise<unknown> {
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await sendOnce(exchange);
    if (!("error" in outcome)) return outcome.json;
    if (attempt === attempts || !outcome.isRetryable) throw outcome.error;
    await wait(1000 * 2 ** (attempt - 1));
  }
}

type Outcome = { readonly json: unknown } | { readonly error: MillraceError; readonly isRetryable: boolean };

async function sendOnce({ endpoint, body, apiKey, dispatcher }: Exchange): Promise<Outcome> {
  let status: number;
  let text: string;
  try {
    const headers = {
      "content-type": "application/json",
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    };
    const response = await request(endpoint, { method: "POST", headers, body, dispatcher });
    status = response.statusCode;
    text = await response.body.text();
  } catch (error) {
    const message = `${endpoint} does not answer: ${messageOf(error)}. A running OpenAI-compatible server is needed. Start it or correct the URL.`;
    return { error: new MillraceError("endpoint_unreachable", message, { cause: error }), isRetryable: true };
  }
  if (status !== 200) {
    const message = `${endpoint} answered ${status}: ${text.slice(0, 300)}. Scoring needs token-id prompts with echo and logprobs. Look at the server's log.`;
    return {
      error: new MillraceError("endpoint_failed", message),
      isRetryable: status === 429 || status >= 500,
    };
  }
  try {
    return { json: JSON.parse(text) };
  } catch (error) {
    return { error: broken(endpoint, "is not JSON", error), isRetryable: false };
  }
}

/** `logprobs.token_logprobs` has an entry for each prompt token (the first null) and for the generated one. */
function readScores(scoreRequest: ScoreRequest, answer: unknown, endpoint: string): ScoreResult {
  const { tokenIds, start } = scoreRequest;
  const choices = isRow(answer) ? answer["choices"] : undefined;
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  const logprobs = isRow(choice) ? choice["logprobs"] : undefined;
  const values: unknown = isRow(logprobs) ? logprobs["token_logprobs"] : undefined;
  const tops: unknown = isRow(logprobs) ? logprobs["top_logprobs"] : undefined;
  if (!Array.isArray(values) || !Array.isArray(tops))
    throw broken(endpoint, "has no token_logprobs and top_logprobs (echo)");
  if (values.length !== tokenIds.length + 1 && values.length !== tokenIds.length) {
    throw broken(
      endpoint,
      `has ${values.length} log-probabilities for a prompt of ${tokenIds.length} tokens`,
    );
  }
  const count = tokenIds.length - start;
  const result: ScoreResult = {
    logprobs: new Float32Array(count),
    argmax: new Int32Array(count),
    topIds: new Int32Array(0),
    topLogprobs: new Float32Array(0),
  };
  for (let i = 0; i < count; i += 1) {
    const value: unknown = values[start + i];
    const top: unknown = tops[start + i];
    if (typeof value !== "number")
      throw broken(endpoint, `has ${JSON.stringify(value)} for prompt token ${start + i}`);
    result.logprobs[i] = value;
    result.argmax[i] = isRow(top) && isMostLikely(value, top) ? tokenIds[start + i]! : -1;
  }
  return result;
}

/** The token itself stands among the top ones when it is the best, with the same number. */
function isMostLikely(value: number, top: Readonly<Record<string, unknown>>): boolean {
  const best = Math.max(...Object.values(top).filter((logprob) => typeof logprob === "number"));
  return value >= best;
}

function broken(endpoint: string, what: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "endpoint_failed",
    `The answer of ${endpoint} ${what}. Scoring needs completions with echo and logprobs. Use a server that has them.`,
    { cause },
  );
}
