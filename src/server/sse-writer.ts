import type { ServerResponse } from "node:http";

/**
 * Writes server-sent events to a raw response. Events of one tick go out in one write. When the socket's buffer is
 * full, `ready` waits until it drains or closes: a slow reader is not a disconnect.
 */
export class SseWriter {
  readonly #response: ServerResponse;
  #pending = "";
  #isScheduled = false;

  constructor(response: ServerResponse, headers: Readonly<Record<string, string>>) {
    this.#response = response;
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
      ...headers,
    });
  }

  get isClosed(): boolean {
    return this.#response.destroyed || this.#response.closed;
  }

  send(data: string): void {
    this.#pending += `data: ${data}\n\n`;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#flush());
  }

  /** Resolves when more may be written. */
  ready(): Promise<void> | undefined {
    const response = this.#response;
    if (!response.writableNeedDrain || this.isClosed) return undefined;
    return new Promise((resolve) => {
      const done = (): void => {
        response.off("drain", done);
        response.off("close", done);
        resolve();
      };
      response.on("drain", done);
      response.on("close", done);
    });
  }

  end(): void {
    this.#flush();
    this.#response.end();
  }

  #flush(): void {
    this.#isScheduled = false;
    if (this.#pending === "" || this.isClosed) return;
    this.#response.write(this.#pending);
    this.#pending = "";
  }
}
