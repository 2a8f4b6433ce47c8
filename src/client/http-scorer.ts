import { setTimeout as wait } from "node:timers/promises";
import { Agent, request } from "undici";
import { MillraceError, messageOf } from "../base/errors.ts";
import type { ScoreRequest, ScoreResult, Scorer } from "../protocol/engine-client.ts";
import { type Endpoint, headersOf } from "./endpoint.ts";
import { serverMessageOf } from "./server-message.ts";

export interface HttpScorerOptions {
  readonly endpoint: Endpoint;
  /** Name of the model as the server knows it. */
  readonly model: string;
  /** Open connections at most; default 8. */
  readonly concurrency?: number;
  readonly timeoutMs?: number;
}

export interface HttpScorer extends Scorer {
  /**
   * Proves with one request that the server can score and has the same tokenizer: `tokenIds` decode to `text` here,
   * and must there. Throws `endpoint_unreachable`, `endpoint_failed`.
   */
  check(tokenIds: readonly number[], text: string): Promise<void>;
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
  const url = `${options.endpoint.url}/v1/completions`;
  const timeout = options.timeoutMs ?? 300_000;
  const dispatcher = new Agent({
    connections: options.concurrency ?? 8,
    headersTimeout: timeout,
    bodyTimeout: timeout,
  });
  const complete = (tokenIds: ScoreRequest["tokenIds"], signal?: AbortSignal): Promise<unknown> => {
    const body = {
      model: options.model,
      prompt: [...tokenIds],
      max_tokens: 1,
      temperature: 0,
      logprobs: 1,
      echo: true,
      seed: 1234,
    };
    const headers = headersOf(options.endpoint);
    return send({ url, body: JSON.stringify(body), headers, dispatcher, signal: signal ?? null });
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
    close: () => dispatcher.close(),
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

interface Exchange {
  readonly url: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly dispatcher: Agent;
  readonly signal: AbortSignal | null;
}

/** One exchange; an overloaded or unreachable server is asked again, a refusal is final. */
async function send(exchange: Exchange): Promise<unknown> {
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await sendOnce(exchange);
    exchange.signal?.throwIfAborted();
    if (!("error" in outcome)) return outcome.json;
    if (attempt === attempts || !outcome.isRetryable) throw outcome.error;
    await wait(1000 * 2 ** (attempt - 1));
  }
}

type Outcome = { readonly json: unknown } | { readonly error: MillraceError; readonly isRetryable: boolean };

async function sendOnce({ url, body, headers, dispatcher, signal }: Exchange): Promise<Outcome> {
  let status: number;
  let text: string;
  try {
    const response = await request(url, { method: "POST", headers, body, dispatcher, signal });
    status = response.statusCode;
    text = await response.body.text();
  } catch (error) {
    const message = `${url} does not answer: ${messageOf(error)}. A running OpenAI-compatible server is needed. Start it or correct the URL.`;
    return { error: new MillraceError("endpoint_unreachable", message, { cause: error }), isRetryable: true };
  }
  if (status !== 200) {
    const message = `${url} answered ${status}: ${serverMessageOf(text)} Scoring needs token-id prompts with echo and logprobs. Look at the server's log.`;
    return {
      error: new MillraceError("endpoint_failed", message),
      isRetryable: status === 429 || status >= 500,
    };
  }
  try {
    return { json: JSON.parse(text) };
  } catch (error) {
    return { error: broken(url, "is not JSON", error), isRetryable: false };
  }
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
