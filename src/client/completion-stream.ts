import { Agent, type Dispatcher } from "undici";
import { messageOf } from "../base/errors.ts";
import type { FailureKind } from "../base/failure-kinds.ts";
import { type Endpoint, headersOf } from "./endpoint.ts";
import { transportFailureKind } from "./failure-kind.ts";
import { StreamLog } from "./stream-log.ts";

export interface StreamOutcome {
  readonly sentMs: number;
  readonly endMs: number;
  readonly status: number;
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

/** Less than the five seconds after which common servers close an idle connection, so that none is reused too late. */
const keepAliveMs = 4000;

/**
 * Connections for load: as many as there are requests in flight, without pipelining.
 *
 * @param timeoutMs how long an answer, or its next part, may take; 0 for as long as it likes
 */
export function createConnectionPool(timeoutMs = 0): Agent {
  return new Agent({
    pipelining: 1,
    keepAliveTimeout: keepAliveMs,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
}

/**
 * Opens connections before a load, so that it measures the server and not how fast a client connects. They are kept open
 * by requests for the list of models; a server that has none, or fails, is found out by the load itself.
 */
export async function openConnections(pool: Agent, endpoint: Endpoint, count: number): Promise<void> {
  const base = new URL(endpoint.url);
  const path = `${base.pathname.replace(/\/$/, "")}/v1/models`;
  const open = async (): Promise<void> => {
    const options = { origin: base.origin, path, method: "GET" as const, headers: headersOf(endpoint) };
    await pool.request(options).then(({ body }) => body.dump());
  };
  await Promise.allSettled(Array.from({ length: count }, open));
}

export interface StreamCall {
  readonly endpoint: Endpoint;
  readonly path: string;
  readonly body: string;
  /** Sent as `X-Request-Id`, so that the server's log can be set beside the client's. */
  readonly requestId?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Posts a streaming request through undici's `dispatch` (the cheapest way, so that the client is not what is
 * measured) and keeps what comes with its times. Never rejects: a fault is part of the outcome.
 */
export function streamRequest(pool: Agent, call: StreamCall): Promise<StreamOutcome> {
  return new Promise((resolve) => {
    const { endpoint, path, body, requestId, signal } = call;
    const base = new URL(endpoint.url);
    const collector = new StreamCollector(signal, resolve);
    pool.dispatch(
      {
        origin: base.origin,
        path: `${base.pathname.replace(/\/$/, "")}${path}`,
        method: "POST",
        headers: {
          ...headersOf(endpoint),
          accept: "text/event-stream",
          ...(requestId === undefined ? {} : { "x-request-id": requestId }),
        },
        body,
      },
      collector,
    );
  });
}

class StreamCollector implements Dispatcher.DispatchHandler {
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (outcome: StreamOutcome) => void;
  readonly #sentMs = performance.now();
  readonly #decoder = new TextDecoder();
  readonly #log = new StreamLog();
  #status = 0;
  #body = "";
  #retryAfterSeconds: number | null = null;
  #onAbort: (() => void) | null = null;

  constructor(signal: AbortSignal | undefined, resolve: (outcome: StreamOutcome) => void) {
    this.#signal = signal;
    this.#resolve = resolve;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#signal === undefined) return;
    this.#onAbort = () => controller.abort(new Error("aborted by the client"));
    if (this.#signal.aborted) this.#onAbort();
    else this.#signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    this.#status = status;
    const retryAfter = Number(headers["retry-after"] ?? Number.NaN);
    this.#retryAfterSeconds = Number.isFinite(retryAfter) ? retryAfter : null;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#status === 200) this.#log.append(chunk, performance.now());
    else if (this.#body.length < maxErrorBody) this.#body += this.#decoder.decode(chunk, { stream: true });
  }

  onResponseEnd(): void {
    this.#settle(null);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const isAbort = this.#signal?.aborted === true;
    const kind = isAbort ? "censored" : transportFailureKind(error);
    this.#settle({ kind, message: isAbort ? "in flight when the load ended" : messageOf(error) });
  }

  #settle(failure: StreamOutcome["failure"]): void {
    const endMs = performance.now();
    if (this.#onAbort !== null) this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#resolve({
      sentMs: this.#sentMs,
      endMs,
      status: this.#status,
      log: this.#log,
      body: this.#body,
      retryAfterSeconds: this.#retryAfterSeconds,
      failure,
    });
  }
}
