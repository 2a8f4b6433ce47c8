import { setTimeout as wait } from "node:timers/promises";
import { Agent, request } from "undici";
import { MillraceError } from "../base/errors.ts";
import { sentence } from "../base/sentence.ts";
import { type Endpoint, headersOf } from "./endpoint.ts";
import { unreachableMessage } from "./failure-kind.ts";
import { serverMessageOf } from "./server-message.ts";
import { tlsOptionsOf } from "./tls-trust.ts";

const attempts = 3;

export interface PostOptions {
  /** A sentence for the error of a refusal: what the caller needs of the server. */
  readonly needs: string;
  readonly signal?: AbortSignal | undefined;
}

/** Sends JSON to one endpoint over kept connections; an overloaded or unreachable server is asked again. */
export class JsonChannel {
  readonly #endpoint: Endpoint;
  readonly #dispatcher: Agent;

  /** `concurrency`: open connections at most. `timeoutMs`: until headers, and between parts of a body. */
  constructor(endpoint: Endpoint, concurrency = 8, timeoutMs = 300_000) {
    this.#endpoint = endpoint;
    this.#dispatcher = new Agent({
      connections: concurrency,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      connect: tlsOptionsOf(endpoint.tls ?? {}),
    });
  }

  urlOf(path: string): string {
    return `${this.#endpoint.url}${path}`;
  }

  /** The JSON of the answer. Throws `endpoint_unreachable`, `endpoint_failed`, or the signal's reason. */
  async post(path: string, body: unknown, options: PostOptions): Promise<unknown> {
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#sendOnce(this.urlOf(path), JSON.stringify(body), options);
      if (!("error" in outcome)) return outcome.json;
      options.signal?.throwIfAborted();
      if (attempt === attempts || !outcome.isRetryable) throw outcome.error;
      await wait(1000 * 2 ** (attempt - 1), undefined, { signal: options.signal });
    }
  }

  close(): Promise<void> {
    return this.#dispatcher.close();
  }

  async #sendOnce(url: string, body: string, { needs, signal }: PostOptions): Promise<Outcome> {
    let status: number;
    let text: string;
    try {
      const response = await request(url, {
        method: "POST",
        headers: headersOf(this.#endpoint),
        body,
        dispatcher: this.#dispatcher,
        ...(signal === undefined ? {} : { signal }),
      });
      status = response.statusCode;
      text = await response.body.text();
    } catch (error) {
      const advice = "A running OpenAI-compatible server is needed. Start it or correct the URL.";
      const message = unreachableMessage(url, error as Error, advice);
      return {
        error: new MillraceError("endpoint_unreachable", message, { cause: error }),
        isRetryable: true,
      };
    }
    if (status !== 200) {
      const message = `${url} answered ${status}: ${sentence(serverMessageOf(text))} ${needs} Look at the server's log.`;
      const isRetryable = status === 429 || status >= 500;
      return { error: new MillraceError("endpoint_failed", message), isRetryable };
    }
    try {
      return { json: JSON.parse(text) };
    } catch (error) {
      const message = `The answer of ${url} is not JSON. ${needs} Look at the server's log.`;
      return {
        error: new MillraceError("endpoint_failed", message, { cause: error }),
        isRetryable: false,
      };
    }
  }
}

type Outcome = { readonly json: unknown } | { readonly error: MillraceError; readonly isRetryable: boolean };
