/** What was asked of somebody took too long. */
class TimeLimitError extends Error {
  override readonly name = "TimeoutError";
  readonly code = "ETIMEDOUT";
}

/** A signal; `release` when nobody listens to it any more. */
export interface TimeLimit {
  readonly signal: AbortSignal;
  readonly release: () => void;
}

/**
 * A signal that comes with another one, or after a time. Why: `AbortSignal.any` holds an `AbortSignal.timeout` so loosely
 * that Node 20 may collect it before its time.
 */
export function limitTime(timeoutMs: number, signal?: AbortSignal): TimeLimit {
  const limit = new AbortController();
  const timer = setTimeout(
    () => limit.abort(new TimeLimitError(`no whole answer came in ${timeoutMs / 1000} s`)),
    timeoutMs,
  );
  const onAbort = (): void => limit.abort(signal?.reason);
  if (signal?.aborted === true) onAbort();
  else signal?.addEventListener("abort", onAbort, { once: true });
  const release = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
  return { signal: limit.signal, release };
}
