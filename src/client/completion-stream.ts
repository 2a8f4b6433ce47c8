import { setMaxListeners } from "node:events";
import type { FailureKind } from "../base/failure-kinds.ts";
import { connectTimeoutMs } from "./connection.ts";
import type { ConnectionPool } from "./connection-pool.ts";
import { type Endpoint, headersOf } from "./endpoint.ts";
import { transportFailureKind, transportMessage } from "./failure-kind.ts";
import { requestBytes } from "./request-bytes.ts";
import type { ResponseHead } from "./response-reader.ts";
import { retryAfterSecondsOf } from "./retry-after.ts";
import { StreamLog } from "./stream-log.ts";
import { limitTime } from "./time-limit.ts";

export interface StreamOutcome {
  readonly sentMs: number;
  readonly endMs: number;
  readonly status: number;
  /** Media type of the answer without parameters; empty where the server does not say. */
  readonly mediaType: string;
  /** What came with status 200. */
  readonly log: StreamLog;
  /** Body of an answer that is not a stream (errors), at most 64 KiB. */
  readonly body: string;
  /** Seconds after which the server asks to come again (`Retry-After`); null where it does not say. */
  readonly retryAfterSeconds: number | null;
  /** Transport fault, or null. */
  readonly failure: { readonly kind: FailureKind; readonly message: string } | null;
}

const maxErrorBody = 65536;

/**
 * Opens connections before a load, so that it measures the server and not how fast a client connects. They are kept open
 * by requests for the list of models; a server that has none, fails, or takes longer for it than a connection may take to
 * open, is found out by the load itself.
 */
export async function openConnections(
  pool: ConnectionPool,
  endpoint: Endpoint,
  { count, signal }: { readonly count: number; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const url = new URL(`${endpoint.url.replace(/\/$/, "")}/v1/models`);
  const bytes = requestBytes(url, headersOf(endpoint), null);
  const limit = limitTime(connectTimeoutMs, signal);
  const end = limit.signal;
  setMaxListeners(0, end);
  const open = (): Promise<void> =>
    new Promise((resolve) => {
      const nothing = (): void => {};
      let giveUp = nothing;
      const settle = (): void => {
        end.removeEventListener("abort", giveUp);
        resolve();
      };
      const handler = { onHead: nothing, onBody: nothing, onEnd: settle, onError: settle };
      const connection = pool.send(url, bytes, handler);
      giveUp = () => connection.destroy(new Error("not open in time"));
      if (end.aborted) giveUp();
      else end.addEventListener("abort", giveUp, { once: true });
    });
  await Promise.all(Array.from({ length: count }, open));
  limit.release();
}

export interface StreamCall {
  readonly endpoint: Endpoint;
  readonly path: string;
  readonly body: string;
  /** Sent as `X-Request-Id`, so that the server's log can be set beside the client's. */
  readonly requestId?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Posts a streaming request and keeps what comes with its times. Never rejects: a fault is part of the outcome. */
export function streamRequest(pool: ConnectionPool, call: StreamCall): Promise<StreamOutcome> {
  return new Promise((resolve) => {
    const { endpoint, path, body, requestId, signal } = call;
    const url = new URL(`${endpoint.url.replace(/\/$/, "")}${path}`);
    const headers = {
      accept: "text/event-stream",
      ...(requestId === undefined ? {} : { "x-request-id": requestId }),
      ...headersOf(endpoint),
    };
    const bytes = requestBytes(url, headers, body);
    const collector = new StreamCollector(signal, resolve);
    if (signal?.aborted === true) collector.onError(new Error("aborted"));
    else collector.watch(pool.send(url, bytes, collector));
  });
}

class StreamCollector {
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (outcome: StreamOutcome) => void;
  readonly #sentMs = performance.now();
  readonly #decoder = new TextDecoder();
  readonly #log = new StreamLog();
  #status = 0;
  #mediaType = "";
  #body = "";
  #retryAfterSeconds: number | null = null;
  #onAbort: (() => void) | null = null;

  constructor(signal: AbortSignal | undefined, resolve: (outcome: StreamOutcome) => void) {
    this.#signal = signal;
    this.#resolve = resolve;
  }

  /** Breaks the connection off when the signal comes. */
  watch(connection: { destroy(error: Error): void }): void {
    this.#onAbort = () => connection.destroy(new Error("aborted by the client"));
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  onHead({ status, headers }: ResponseHead): void {
    this.#status = status;
    this.#mediaType = (headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
    this.#retryAfterSeconds = retryAfterSecondsOf(headers);
  }

  onBody(bytes: Uint8Array, atMs: number): void {
    if (this.#status === 200) this.#log.append(bytes, atMs);
    else if (this.#body.length < maxErrorBody) this.#body += this.#decoder.decode(bytes, { stream: true });
  }

  onEnd(): void {
    this.#settle(null);
  }

  onError(error: Error): void {
    const isAbort = this.#signal?.aborted === true;
    const kind = isAbort ? "censored" : transportFailureKind(error);
    this.#settle({ kind, message: isAbort ? "in flight when the load ended" : transportMessage(error) });
  }

  #settle(failure: StreamOutcome["failure"]): void {
    const endMs = performance.now();
    if (this.#onAbort !== null) this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#resolve({
      sentMs: this.#sentMs,
      endMs,
      status: this.#status,
      mediaType: this.#mediaType,
      log: this.#log,
      body: this.#body,
      retryAfterSeconds: this.#retryAfterSeconds,
      failure,
    });
  }
}
