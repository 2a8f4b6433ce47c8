import { messageOf } from "../../base/errors.ts";
import { type Endpoint, headersOf } from "../../client/endpoint.ts";
import { transportFailureKind } from "../../client/failure-kind.ts";
import { limitTime } from "../../client/time-limit.ts";
import { LaunchError } from "../../protocol/endpoint-launcher.ts";
import { answerTimeoutMs } from "./ask-server.ts";

const pollMs = 25;
const lastPath = "/v1/models";

export interface Waiting {
  readonly endpoint: Endpoint;
  /** For messages: `llama.cpp`, or the address. */
  readonly name: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Resolves with why its process ended; null where it has none. */
  readonly ended: Promise<Error> | null;
  /** Where it writes to; null where that is not known. */
  readonly logFile: string | null;
  /** Whether a connection that is refused may still come: true for a process that was just started. */
  readonly isStarting: boolean;
}

/**
 * Asks `GET /health`, and `GET /v1/models` where there is none, until one says 200; a key is known to be right by the
 * second alone. Throws `LaunchError`.
 */
export async function waitUntilReady(waiting: Waiting): Promise<void> {
  const { timeoutMs, signal, ended } = waiting;
  let end: Error | null = null;
  void ended?.then((error) => (end = error));
  const started = performance.now();
  let last = "nothing yet";
  while (performance.now() - started < timeoutMs) {
    signal.throwIfAborted();
    if (end !== null) throw end;
    const answer = await ask(waiting);
    if (answer === "ready") return;
    last = answer;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  throw new LaunchError(
    "slow to start",
    `${waiting.name} runs but was not ready after ${timeoutMs / 1000} s; it last answered: ${last}. Look at its log${waiting.logFile === null ? "" : ` ${waiting.logFile}`}, or wait longer with --ready-timeout.`,
  );
}

/** `ready`, or what it said instead. */
async function ask({ endpoint, name, isStarting, signal }: Waiting): Promise<string> {
  const { url } = endpoint;
  let isHealthy = false;
  for (const path of ["/health", lastPath]) {
    const limit = limitTime(answerTimeoutMs, signal);
    const response = await fetch(url + path, { headers: headersOf(endpoint), signal: limit.signal })
      .catch((error: unknown) => error as Error)
      .finally(limit.release);
    if (response instanceof Error) {
      signal.throwIfAborted();
      return refusal(response, { url, name, isStarting });
    }
    // Its status says all; the rest may be broken, or without end.
    await response.body?.cancel().catch(() => {});
    if (response.ok && path === lastPath) return "ready";
    if (response.status === 401 || response.status === 403) {
      throw new LaunchError(
        "refusing",
        `${name} answers HTTP ${response.status} to ${url + path}: it ${endpoint.apiKey === undefined ? "wants a key" : "does not take the key"}. Give the right --api-key.`,
      );
    }
    if (!response.ok && response.status !== 404) return `HTTP ${response.status}`;
    isHealthy ||= response.ok;
  }
  if (isHealthy) return "ready";
  if (isStarting) return "HTTP 404";
  throw new LaunchError(
    "unreachable",
    `${url} answers HTTP 404 to /health and /v1/models: what is there serves no models. Correct the address; it is the part before /v1.`,
  );
}

/** What a connection failed by; throws where waiting cannot help. */
function refusal(
  error: Error,
  { url, name, isStarting }: Pick<Waiting, "name" | "isStarting"> & { readonly url: string },
): string {
  const code = reasonOf(error);
  if (transportFailureKind(error) === "tls") {
    throw new LaunchError(
      "TLS",
      `${name} at ${url} cannot be trusted or does not speak TLS (${code}: ${messageOf(error.cause ?? error)}). Check http or https, and its certificate.`,
      { cause: error },
    );
  }
  if (error.name === "TimeoutError") return `no answer in ${answerTimeoutMs / 1000} s`;
  if (isStarting) return code;
  throw new LaunchError(
    "unreachable",
    `Nobody answers at ${url} (${code}). Start the server, or correct the address.`,
    { cause: error },
  );
}

/** The code of the outermost cause that has one, such as ECONNREFUSED; else what the innermost cause says, such as "bad port". */
function reasonOf(error: Error): string {
  const { code } = error as { readonly code?: unknown };
  if (typeof code === "string") return code;
  // A name with several addresses fails as one error for each.
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error.cause;
  return inner instanceof Error ? reasonOf(inner) : error.message;
}
