import { MillraceError } from "../base/errors.ts";
import { sentence } from "../base/sentence.ts";
import type { Endpoint } from "./endpoint.ts";
import { exchangeText, type TextAnswer, type TextCall } from "./exchange-text.ts";
import { unreachableMessage } from "./failure-kind.ts";
import { serverMessageOf } from "./server-message.ts";

/** How long a server may take that is asked for no more than a list or the tokens of a short text. */
const usualTimeoutMs = 30_000;

/** A model as `GET /v1/models` lists it. */
export interface ListedModel {
  readonly id: string;
  /** vLLM's and our field; null from servers that do not tell. */
  readonly maxModelLen: number | null;
}

/** Throws `endpoint_unreachable`, or the signal's reason. */
async function exchange(endpoint: Endpoint, call: TextCall): Promise<TextAnswer> {
  try {
    return await exchangeText(endpoint, call);
  } catch (error) {
    call.signal?.throwIfAborted();
    const advice = "Start it, or correct the URL; it is the part before /v1.";
    const message = unreachableMessage(`${endpoint.url}${call.path}`, error as Error, advice);
    throw new MillraceError("endpoint_unreachable", message, { cause: error });
  }
}

/** The first model that a server lists, asked for half a minute at most. Throws `endpoint_unreachable`, `endpoint_failed`, or the signal's reason. */
export async function firstModelOf(
  endpoint: Endpoint,
  {
    signal,
    timeoutMs = usualTimeoutMs,
  }: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number | undefined } = {},
): Promise<ListedModel> {
  const { url, status, text } = await exchange(endpoint, {
    path: "/v1/models",
    signal,
    timeoutMs: Math.min(timeoutMs, usualTimeoutMs),
  });
  if (status !== 200) {
    throw new MillraceError(
      "endpoint_failed",
      `${url} answered ${status}: ${sentence(serverMessageOf(text))} Check the URL, the API key and the server's log.`,
    );
  }
  const answer = parseJson(text) as { data?: { id?: unknown; max_model_len?: unknown }[] } | null;
  const first = answer?.data?.[0];
  if (typeof first?.id !== "string") {
    throw new MillraceError("endpoint_failed", `${url} lists no model. Give its name with --model.`);
  }
  return { id: first.id, maxModelLen: typeof first.max_model_len === "number" ? first.max_model_len : null };
}

/**
 * Token ids of a text without special tokens from `POST /tokenize` (vLLM's form), or null where the server has no
 * such endpoint.
 */
export async function tokenizeRemotely(
  endpoint: Endpoint,
  request: { readonly model: string; readonly prompt: string; readonly signal?: AbortSignal | undefined },
): Promise<number[] | null> {
  const { model, prompt, signal } = request;
  const body = { model, prompt, add_special_tokens: false };
  const { status, text } = await exchange(endpoint, {
    path: "/tokenize",
    body,
    signal,
    timeoutMs: usualTimeoutMs,
  });
  const tokens: unknown = status === 200 ? (parseJson(text) as { tokens?: unknown } | null)?.tokens : null;
  const isIds = Array.isArray(tokens) && tokens.length > 0 && tokens.every((id) => Number.isInteger(id));
  return isIds ? (tokens as number[]) : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
