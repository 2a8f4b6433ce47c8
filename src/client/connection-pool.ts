import { Connection, connectTimeoutMs, type ExchangeHandler } from "./connection.ts";
import type { TlsTrust } from "./tls-trust.ts";

/** Less than the five seconds after which common servers close an idle connection, so that none is reused too late. */
const keepAliveMs = 4000;
/** What a server says of this is taken with so much less, for the way there. */
const keepAliveSlackMs = 1000;
/** Time between two looks for requests that take too long. */
const watchIntervalMs = 100;
/** As much as the system hands over at once. */
const readBytes = 65536;

/** Nothing came for too long. */
class SilenceError extends Error {
  override readonly name = "SilenceError";
  readonly code: "ETIMEDOUT" | "ECONNTIMEOUT";

  constructor(code: SilenceError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Connections for load: as many as there are requests in flight, without pipelining; free ones are used again, the last
 * one first.
 */
export class ConnectionPool {
  readonly #timeoutMs: number;
  readonly #trust: TlsTrust;
  readonly #buffer = Buffer.allocUnsafeSlow(readBytes);
  readonly #all = new Set<Connection>();
  /** Free ones by origin. */
  readonly #idle = new Map<string, Connection[]>();
  #watch: NodeJS.Timeout | null = null;

  /** `timeoutMs`: how long an answer, or its next part, may take; 0 for as long as it likes. */
  constructor(timeoutMs: number, trust: TlsTrust) {
    this.#timeoutMs = timeoutMs;
    this.#trust = trust;
  }

  /** Sends a whole request; gives the connection that carries it, for breaking it off. */
  send(origin: URL, bytes: string | Buffer, handler: ExchangeHandler): Connection {
    const connection = this.#free(origin.origin) ?? this.#open(origin);
    connection.send(bytes, handler);
    return connection;
  }

  /** Closes everything; requests in flight end with an error. */
  destroy(): void {
    if (this.#watch !== null) clearInterval(this.#watch);
    this.#watch = null;
    for (const connection of this.#all) connection.destroy(new Error("the client was closed"));
  }

  #free(origin: string): Connection | undefined {
    const idle = this.#idle.get(origin) ?? [];
    for (let connection = idle.pop(); connection !== undefined; connection = idle.pop()) {
      const told = connection.keepAliveMs;
      const limitMs = told === null ? keepAliveMs : Math.min(keepAliveMs, told - keepAliveSlackMs);
      if (performance.now() - connection.lastActiveMs < limitMs) return connection;
      connection.destroy(new Error("idle for too long"));
    }
    return undefined;
  }

  #open(origin: URL): Connection {
    const connection = new Connection({
      origin,
      trust: this.#trust,
      buffer: this.#buffer,
      onIdle: (free) => {
        const idle = this.#idle.get(origin.origin);
        if (idle === undefined) this.#idle.set(origin.origin, [free]);
        else idle.push(free);
      },
      onGone: (gone) => this.#forget(origin.origin, gone),
    });
    this.#all.add(connection);
    this.#watch ??= setInterval(() => this.#endSilent(), watchIntervalMs).unref();
    return connection;
  }

  #forget(origin: string, connection: Connection): void {
    if (!this.#all.delete(connection)) return;
    const idle = this.#idle.get(origin);
    const at = idle?.indexOf(connection) ?? -1;
    if (at !== -1) idle!.splice(at, 1);
  }

  #endSilent(): void {
    const now = performance.now();
    for (const connection of this.#all) {
      const silentMs = now - connection.lastActiveMs;
      const { waitsFor } = connection;
      if (waitsFor === "connection" && silentMs > connectTimeoutMs)
        connection.destroy(new SilenceError("ECONNTIMEOUT", `no connection in ${connectTimeoutMs / 1000} s`));
      else if (waitsFor === "answer" && this.#timeoutMs > 0 && silentMs > this.#timeoutMs)
        connection.destroy(
          new SilenceError("ETIMEDOUT", `nothing of an answer came for ${this.#timeoutMs / 1000} s`),
        );
    }
  }
}
