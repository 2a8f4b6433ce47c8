import { setMaxListeners } from "node:events";

/** Calls `listener` when the signal is aborted. Returns what takes that back. */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => {};
  // One signal may end any number of requests; Node would warn from the eleventh on.
  setMaxListeners(0, signal);
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}
