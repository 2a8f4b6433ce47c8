import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { FramingError, type ResponseHead, ResponseReader } from "./response-reader.ts";
import { type TlsTrust, tlsOptionsOf } from "./tls-trust.ts";

/** What happens to a request on its connection; exactly one of `onEnd` and `onError` is the last. */
export interface ExchangeHandler {
  onHead(head: ResponseHead): void;
  /**
   * Bytes of the body, a view that holds for the call only. `atMs` is the monotonic time of the read; several calls of
   * one read have the same.
   */
  onBody(bytes: Uint8Array, atMs: number): void;
  onEnd(): void;
  onError(error: Error): void;
}

export interface ConnectionOptions {
  readonly origin: URL;
  readonly trust: TlsTrust;
  /** Reads of all plain connections of a thread go here, one after the other. */
  readonly buffer: Buffer;
  /** The connection has become free, or is gone. */
  readonly onIdle: (connection: Connection) => void;
  readonly onGone: (connection: Connection) => void;
}

/** The time until a connection is open at most. */
export const connectTimeoutMs = 10_000;

/**
 * One HTTP/1.1 connection that carries one request at a time, for load: a read is stamped in the call in which the system
 * hands it over, before anything else is done with it.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  #socket: Socket;
  /** The request in flight while nothing of its answer came, on a socket that has carried another before; else null. */
  #resendable: string | Buffer | null = null;
  #hasServed = false;
  #handler: ExchangeHandler | null = null;
  #reader: ResponseReader | null = null;
  #isOpen = false;
  #atMs = 0;
  /** Monotonic time of the last byte either way. */
  lastActiveMs = performance.now();
  /** How long the server keeps it open while nothing happens; null where it does not say. */
  keepAliveMs: number | null = null;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#socket = this.#openWatched();
  }

  #openWatched(): Socket {
    const socket = this.#open();
    const ifCurrent = (act: () => void) => (): void => {
      if (socket === this.#socket) act();
    };
    return socket
      .on("error", (error) => ifCurrent(() => this.#resent() || this.#fail(error))())
      .on(
        "end",
        ifCurrent(() => this.#resent() || this.#ended()),
      )
      .on(
        "close",
        ifCurrent(() => this.#resent() || this.#ended()),
      );
  }

  /**
   * Some servers close a connection behind an answer without a word; a request that met that was never read, and goes out
   * again on a new one (RFC 9112, section 9.3.1), once.
   */
  #resent(): boolean {
    const bytes = this.#resendable;
    if (bytes === null) return false;
    this.#resendable = null;
    this.#hasServed = false;
    this.#isOpen = false;
    this.#socket.destroy();
    this.#socket = this.#openWatched();
    this.#socket.write(bytes);
    return true;
  }

  /** What a request waits for. */
  get waitsFor(): "connection" | "answer" | null {
    if (this.#handler === null) return null;
    return this.#isOpen ? "answer" : "connection";
  }

  /** Sends a whole request, head and body. The connection must be free. */
  send(bytes: string | Buffer, handler: ExchangeHandler): void {
    this.#handler = handler;
    this.#reader = new ResponseReader(
      (head) => {
        const seconds = Number(
          /timeout=(\d+)/i.exec(head.headers.get("keep-alive") ?? "")?.[1] ?? Number.NaN,
        );
        this.keepAliveMs = Number.isNaN(seconds) ? null : 1000 * seconds;
        handler.onHead(head);
      },
      (body) => handler.onBody(body, this.#atMs),
    );
    this.lastActiveMs = performance.now();
    this.#resendable = this.#hasServed ? bytes : null;
    this.#socket.write(bytes);
  }

  /** Breaks it off; a request on it ends with the error. */
  destroy(error: Error): void {
    this.#fail(error);
  }

  #open(): Socket {
    const { origin, trust, buffer } = this.#options;
    const host = origin.hostname.replace(/^\[|\]$/g, "");
    const address = { host, port: Number(origin.port || (origin.protocol === "https:" ? 443 : 80)) };
    const opened = (): void => {
      this.#isOpen = true;
    };
    if (origin.protocol !== "https:") {
      const callback = (numBytes: number, bytes: Uint8Array): boolean => {
        this.#read(bytes.subarray(0, numBytes), performance.now());
        return true;
      };
      return connect({ ...address, noDelay: true, onread: { buffer, callback } }, opened);
    }
    const servername = isIP(host) === 0 ? { servername: host } : {};
    const socket = connectTls(
      { ...address, ...servername, ...tlsOptionsOf(trust), ALPNProtocols: ["http/1.1"] },
      opened,
    );
    socket.setNoDelay(true);
    return socket.on("data", (bytes: Buffer) => this.#read(bytes, performance.now()));
  }

  #read(bytes: Uint8Array, atMs: number): void {
    this.lastActiveMs = atMs;
    this.#atMs = atMs;
    this.#resendable = null;
    const reader = this.#reader;
    if (reader === null) {
      this.#fail(new FramingError("bytes came that belong to no request"));
      return;
    }
    try {
      const used = reader.push(bytes);
      if (!reader.isDone) return;
      if (used < bytes.length) throw new FramingError("more bytes came than the answer has");
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    this.#finish(reader.isPersistent);
  }

  #finish(isPersistent: boolean): void {
    const handler = this.#handler!;
    this.#handler = null;
    this.#reader = null;
    this.#hasServed = true;
    if (isPersistent) this.#options.onIdle(this);
    else this.#leave();
    handler.onEnd();
  }

  #ended(): void {
    if (this.#handler !== null && this.#reader?.close() === true) this.#finish(false);
    else this.#fail(new Error("the server closed the connection before the answer had ended"));
  }

  #fail(error: Error): void {
    const handler = this.#handler;
    this.#handler = null;
    this.#reader = null;
    this.#resendable = null;
    this.#leave();
    handler?.onError(error);
  }

  #leave(): void {
    this.#socket.destroy();
    this.#options.onGone(this);
  }
}
