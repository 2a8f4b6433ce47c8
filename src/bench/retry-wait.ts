/** A refusal that asks for more patience than this gets this much. */
const maxRetryWaitMs = 60_000;
/** After a refusal that does not say when to come again: who asks at once would only be refused once more. */
const usualRetrySeconds = 1;

/** How long to wait after a refusal, by what its `Retry-After` says. */
export function retryWaitMs(retryAfterSeconds: number | null): number {
  return Math.min(maxRetryWaitMs, 1000 * (retryAfterSeconds ?? usualRetrySeconds));
}
