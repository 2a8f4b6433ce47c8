import type { ServerResponse } from "node:http";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type HttpContext, nodeResponse } from "../http-context.ts";

/** One server-sent event. */
export interface StreamEvent {
  /** Of the `event:` line; none where left out. */
  readonly name?: string;
  /** What becomes one line of JSON, or a text as it is. */
  readonly data: object | string;
}

/**
 * Where the server-sent events of one answer go. Events of one turn of the event loop leave in one write. Headers
 * leave with the first event, so that an error before it can still have its own status.
 */
export interface EventSink {
  /** True once the first event is on its way. */
  readonly isOpen: boolean;
  /** Resolves with the first event. */
  readonly opened: Promise<void>;
  /** What the route returns after `opened`. */
  readonly response: Response;
  send(event: StreamEvent): void;
  /** Undefined while the reader keeps up; else resolves when it has caught up or is gone. */
  pressure(): Promise<void> | undefined;
  end(): void;
  /** Ends a sink that never opened. */
  discard(): void;
}

/** How long a stream may stand still. */
export interface StreamTimes {
  /** A reader that takes nothing for so long is left: its socket is closed. */
  readonly clientTimeoutMs: number;
  /** After such a silence a comment is sent, so that proxies do not take the connection for dead. */
  readonly keepAliveMs: number;
}

/** @param onGone called when a reader of the response's body cancels it; a lost socket is seen elsewhere */
export function createEventSink(c: HttpContext, times: StreamTimes, onGone: () => void): EventSink {
  const headers = { ...c.get("headers"), ...streamHeaders };
  const outgoing = nodeResponse(c);
  return outgoing === undefined
    ? new WebEventSink(headers, times, onGone)
    : new NodeEventSink(outgoing, headers, times);
}

const streamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
};

/** Collects the events of one turn of the event loop. */
abstract class BatchingSink implements EventSink {
  readonly opened: Promise<void>;
  abstract readonly response: Response;
  #open: () => void = () => {};
  #isOpen = false;
  #pending = "";
  #flushing: NodeJS.Immediate | null = null;
  readonly #keepAlive: NodeJS.Timeout;

  constructor({ keepAliveMs }: StreamTimes) {
    this.opened = new Promise((resolve) => {
      this.#open = resolve;
    });
    this.#keepAlive = setInterval(() => this.#send(": keep-alive\n\n"), keepAliveMs).unref();
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  send({ name, data }: StreamEvent): void {
    const head = name === undefined ? "" : `event: ${name}\n`;
    this.#send(`${head}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
  }

  end(): void {
    this.discard();
    this.#flush();
    this.close();
  }

  discard(): void {
    clearInterval(this.#keepAlive);
  }

  #send(text: string): void {
    this.#isOpen = true;
    this.#open();
    this.#pending += text;
    this.#flushing ??= setImmediate(() => this.#flush());
  }

  #flush(): void {
    if (this.#flushing !== null) clearImmediate(this.#flushing);
    this.#flushing = null;
    if (this.#pending === "") return;
    const text = this.#pending;
    this.#pending = "";
    this.#keepAlive.refresh();
    this.write(text);
  }

  abstract pressure(): Promise<void> | undefined;
  protected abstract write(text: string): void;
  protected abstract close(): void;
}

/** Writes to the socket itself: half the cost per event of a stream in between. */
class NodeEventSink extends BatchingSink {
  readonly response: Response = RESPONSE_ALREADY_SENT;
  readonly #outgoing: ServerResponse;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #clientTimeoutMs: number;
  #relief: Promise<void> | undefined;

  constructor(outgoing: ServerResponse, headers: Readonly<Record<string, string>>, times: StreamTimes) {
    super(times);
    this.#outgoing = outgoing;
    this.#headers = headers;
    this.#clientTimeoutMs = times.clientTimeoutMs;
  }

  pressure(): Promise<void> | undefined {
    const outgoing = this.#outgoing;
    if (!outgoing.writableNeedDrain || outgoing.destroyed) return undefined;
    // A full buffer is a slow reader, not a lost one: wait for either. All sequences of a request share one wait.
    this.#relief ??= new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        outgoing.off("drain", end).off("close", end);
        this.#relief = undefined;
        resolve();
      };
      const timer = setTimeout(() => outgoing.destroy(), this.#clientTimeoutMs);
      outgoing.on("drain", end).on("close", end);
    });
    return this.#relief;
  }

  protected write(text: string): void {
    const outgoing = this.#outgoing;
    if (outgoing.destroyed) return;
    if (!outgoing.headersSent) outgoing.writeHead(200, this.#headers);
    outgoing.write(text);
  }

  protected close(): void {
    if (!this.#outgoing.destroyed) this.#outgoing.end();
  }
}

/** For `app.request()` and other hosts that know Request and Response only. */
class WebEventSink extends BatchingSink {
  readonly response: Response;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #wake: () => void = () => {};
  #relief: Promise<void> | undefined;
  readonly #encoder = new TextEncoder();

  constructor(headers: Readonly<Record<string, string>>, times: StreamTimes, onGone: () => void) {
    super(times);
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#wake(),
      cancel: () => {
        this.#controller = null;
        this.#wake();
        onGone();
      },
    });
    this.response = new Response(body, { headers });
  }

  pressure(): Promise<void> | undefined {
    if ((this.#controller?.desiredSize ?? 1) > 0) return undefined;
    this.#relief ??= new Promise((resolve) => {
      this.#wake = () => {
        this.#relief = undefined;
        resolve();
      };
    });
    return this.#relief;
  }

  protected write(text: string): void {
    this.#controller?.enqueue(this.#encoder.encode(text));
  }

  protected close(): void {
    this.#controller?.close();
    this.#controller = null;
  }
}
