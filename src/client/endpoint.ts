import { MillraceError, messageOf } from "../base/errors.ts";
import { serverMessageOf } from "./server-message.ts";
import type { TlsTrust } from "./tls-trust.ts";

/** Where an OpenAI-compatible server answers. */
export interface Endpoint {
  /** Base URL without `/v1`, such as http://127.0.0.1:8000. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** Sent with every request, over what is sent anyway. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Of an https URL; the well-known certificates without. */
  readonly tls?: TlsTrust | undefined;
}

/** A model as `GET /v1/models` lists it. */
export interface ListedModel {
  readonly id: string;
  /** vLLM's and our field; null from servers that do not tell. */
  readonly maxModelLen: number | null;
}

/** The base URL behind what a user gave, with or without `/v1`. Throws `invalid_option`. */
export function endpointUrlOf(given: string, param: string): string {
  if (URL.canParse(given) && /^https?:$/.test(new URL(given).protocol)) {
    return given.replace(/\/+$/, "").replace(/\/v1$/, "");
  }
  throw new MillraceError(
    "invalid_option",
    `"${given}" is not a URL. It takes one such as http://127.0.0.1:8000. Correct it.`,
    { param },
  );
}

/** Headers of a JSON request. */
export function headersOf(endpoint: Endpoint): Record<string, string> {
  return {
    "content-type": "application/json",
    ...(endpoint.apiKey === undefined ? {} : { authorization: `Bearer ${endpoint.apiKey.trim()}` }),
    ...endpoint.headers,
  };
}

interface Call {
  readonly path: string;
  /** Posted as JSON; a GET without. */
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

interface Answer {
  readonly url: string;
  readonly isOk: boolean;
  readonly status: number;
  readonly text: string;
}

/** Throws `endpoint_unreachable`, or the signal's reason. */
async function exchange(endpoint: Endpoint, { path, body, signal }: Call): Promise<Answer> {
  const url = `${endpoint.url.replace(/\/$/, "")}${path}`;
  try {
    const response = await fetch(url, {
      headers: headersOf(endpoint),
      ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
    return { url, isOk: response.ok, status: response.status, text: await response.text() };
  } catch (error) {
    signal?.throwIfAborted();
    throw new MillraceError(
      "endpoint_unreachable",
      `No server answers at ${url} (${messageOf((error as Error).cause ?? error)}). Start it, or correct the URL; it is the part before /v1.`,
      { cause: error },
    );
  }
}

/** The first model that a server lists. Throws `endpoint_unreachable`, `endpoint_failed`. */
export async function firstModelOf(endpoint: Endpoint, signal?: AbortSignal): Promise<ListedModel> {
  const { url, isOk, status, text } = await exchange(endpoint, { path: "/v1/models", signal });
  if (!isOk) {
    throw new MillraceError(
      "endpoint_failed",
      `${url} answered ${status}: ${serverMessageOf(text)} Check the URL, the API key and the server's log.`,
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
  const { isOk, text } = await exchange(endpoint, { path: "/tokenize", body, signal });
  const tokens: unknown = isOk ? (parseJson(text) as { tokens?: unknown } | null)?.tokens : null;
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
