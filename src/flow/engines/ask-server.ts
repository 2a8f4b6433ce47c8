import type { Endpoint } from "../../client/endpoint.ts";
import { exchangeText } from "../../client/exchange-text.ts";

/** A server that is busy may take its time for one answer. */
export const answerTimeoutMs = 5_000;

/** What `GET path` says with status 200; null where it says nothing, or not in time. Throws the signal's reason. */
export async function askServer(
  endpoint: Endpoint,
  path: string,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const { status, text } = await exchangeText(endpoint, { path, signal, timeoutMs: answerTimeoutMs });
    return status === 200 ? text : null;
  } catch {
    // It has no such page, or broke off: what it would have told is in the report only.
    signal.throwIfAborted();
    return null;
  }
}
