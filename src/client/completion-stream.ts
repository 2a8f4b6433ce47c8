import { Agent, type Dispatcher } from "undici";
import { messageOf } from "../base/errors.ts";
import { type Endpoint, headersOf } from "./endpoint.ts";
import { SseParser } from "./sse-parser.ts";

/** One server-sent event with its arrival. */
export interface TimedEvent {
  /** Monotonic milliseconds when the bytes that completed the event were read. */
  readonly atMs: number;
  /** True when an earlier event came with the same read; their gap says nothing. */
  readonly coalesced: boolean;
  readonly data: string;
}

export interface StreamOutcome {
  readonly sentMs: number;
  readonly endMs: number;
  readonly status: number;
  /** Body of an answer that is not a stream (errors), at most 64 KiB. */
  readonly body: string;
  /** Transport fault, or null. */
  readonly failure: string | null;
}

const maxErrorBody = 65536;

/** A pool of connections for load: no keep-alive reuse surprises, no pipelining, no timeouts of its own. */
export function createConnectionPool(maxConnections: number): Agent {
  return new Agent({
    connections: maxConnections,
    pipelining: 1,
    keepAliveTimeout: 1000,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

interface StreamCall {
  readonly endpoint: Endpoint;
  readonly path: string;
  readonly body: string;
  readonly onEvent: (event: TimedEvent) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Posts a streaming request through undici's `dispatch` (the cheapest way, so that the client is not what is
 * measured) and hands over every event with its arrival time. Never rejects: a fault is part of the outcome.
 */
export function streamRequest(pool: Agent, call: StreamCall): Promise<StreamOutcome> {
  return new Promise((resolve) => {
    const collector = new StreamCollector(call, resolve);
    pool.dispatch(
      {
        origin: new URL(call.endpoint.url).origin,
        path: joinPath(call.endpoint.url, call.path),
        method: "POST",
        headers: { ...headersOf(call.endpoint), accept: "text/event-stream" },
        body: call.body,
      },
      collector,
    );
  });
}

function joinPath(baseUrl: string, path: string): string {
  return `${new URL(baseUrl).pathname.replace(/\/$/, "")}${path}`;
}

class StreamCollector implements Dispatcher.DispatchHandler {
  readonly #call: StreamCall;
  readonly #resolve: (outcome: StreamOutcome) => void;
  readonly #parser: SseParser;
  readonly #sentMs = performance.now();
  readonly #decoder = new TextDecoder();
  #status = 0;
  #body = "";
  #readMs = 0;
  #eventsInRead = 0;
  #onAbort: (() => void) | null = null;

  constructor(call: StreamCall, resolve: (outcome: StreamOutcome) => void) {
    this.#call = call;
    this.#resolve = resolve;
    this.#parser = new SseParser((data) => this.#event(data));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    const { signal } = this.#call;
    if (signal === undefined) return;
    this.#onAbort = () => controller.abort(new Error("aborted by the client"));
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#status = status;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#status !== 200) {
      if (this.#body.length < maxErrorBody) this.#body += this.#decoder.decode(chunk, { stream: true });
      return;
    }
    this.#readMs = performance.now();
    this.#eventsInRead = 0;
    this.#parser.push(chunk);
  }

  onResponseEnd(): void {
    this.#parser.end();
    this.#settle(null);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#settle(messageOf(error));
  }

  #event(data: string): void {
    this.#call.onEvent({ atMs: this.#readMs, coalesced: this.#eventsInRead > 0, data });
    this.#eventsInRead += 1;
  }

  #settle(failure: string | null): void {
    if (this.#onAbort !== null) this.#call.signal?.removeEventListener("abort", this.#onAbort);
    this.#resolve({
      sentMs: this.#sentMs,
      endMs: performance.now(),
      status: this.#status,
      body: this.#body,
      failure,
    });
  }
}
