import { ConnectionPool } from "./connection-pool.ts";
import { type Endpoint, headersOf } from "./endpoint.ts";
import { requestBytes } from "./request-bytes.ts";

export interface TextCall {
  readonly path: string;
  /** Posted as JSON; a GET without. */
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  /** How long the server may be silent. */
  readonly timeoutMs: number;
}

export interface TextAnswer {
  readonly url: string;
  readonly status: number;
  readonly text: string;
}

/** One request over a connection of its own. Throws what the transport failed by, or the signal's reason. */
export function exchangeText(endpoint: Endpoint, call: TextCall): Promise<TextAnswer> {
  const { path, body, signal, timeoutMs } = call;
  const url = new URL(`${endpoint.url.replace(/\/$/, "")}${path}`);
  const sent = body === undefined ? null : JSON.stringify(body);
  const pool = new ConnectionPool(timeoutMs, endpoint.tls ?? {});
  let onAbort = (): void => {};
  const answer = new Promise<TextAnswer>((resolve, reject) => {
    const parts: Uint8Array[] = [];
    let status = 0;
    signal?.throwIfAborted();
    const connection = pool.send(url, requestBytes(url, headersOf(endpoint), sent), {
      onHead: (head) => (status = head.status),
      onBody: (bytes) => parts.push(bytes.slice()),
      onEnd: () => resolve({ url: url.href, status, text: Buffer.concat(parts).toString() }),
      onError: (error) => reject(signal?.aborted === true ? (signal.reason as Error) : error),
    });
    onAbort = () => connection.destroy(signal?.reason as Error);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
  return answer.finally(() => {
    signal?.removeEventListener("abort", onAbort);
    pool.destroy();
  });
}
