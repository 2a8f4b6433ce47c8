import { ConnectionPool } from "./connection-pool.ts";
import { type Endpoint, headersOf } from "./endpoint.ts";
import { requestBytes } from "./request-bytes.ts";
import { limitTime } from "./time-limit.ts";

export interface TextCall {
  readonly path: string;
  /** Posted as JSON; a GET without. */
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  /** How long the whole answer may take. */
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
  const pool = new ConnectionPool(0, endpoint.tls ?? {});
  const limit = limitTime(timeoutMs, signal);
  const answer = new Promise<TextAnswer>((resolve, reject) => {
    const parts: Uint8Array[] = [];
    let status = 0;
    limit.signal.throwIfAborted();
    const connection = pool.send(url, requestBytes(url, headersOf(endpoint), sent), {
      onHead: (head) => (status = head.status),
      onBody: (bytes) => parts.push(bytes.slice()),
      onEnd: () => resolve({ url: url.href, status, text: Buffer.concat(parts).toString() }),
      onError: (error) => reject(limit.signal.aborted ? (limit.signal.reason as Error) : error),
    });
    limit.signal.addEventListener("abort", () => connection.destroy(limit.signal.reason as Error));
  });
  return answer.finally(() => {
    limit.release();
    pool.destroy();
  });
}
