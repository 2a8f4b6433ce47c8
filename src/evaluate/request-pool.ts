import type { ScoreRequest, Scorer } from "../protocol/engine-client.ts";
import { type Likelihood, toLikelihood } from "./scoring.ts";

export interface PoolOptions {
  readonly scorer: Scorer;
  /** Requests in flight at most. */
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
  /** Called after each request. */
  readonly onDone: (index: number, likelihood: Likelihood) => void;
}

/**
 * Scores requests with a bounded number in flight and gives the results in the order of the requests. The order of
 * sending is free: `sendOrder` holds indices. The first failure stops the sending and is thrown when the requests in
 * flight have ended.
 */
export async function scoreAll(
  requests: readonly ScoreRequest[],
  sendOrder: readonly number[],
  options: PoolOptions,
): Promise<Likelihood[]> {
  const results: Likelihood[] = Array.from({ length: requests.length });
  let next = 0;
  let hasFailed = false;
  const sendUntilEmpty = async (): Promise<void> => {
    while (next < sendOrder.length && !hasFailed) {
      const index = sendOrder[next]!;
      next += 1;
      try {
        options.signal?.throwIfAborted();
        const request = requests[index]!;
        const likelihood = toLikelihood(request, await options.scorer.score(request, options.signal));
        results[index] = likelihood;
        options.onDone(index, likelihood);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const senders = Array.from({ length: Math.min(options.concurrency, requests.length) }, sendUntilEmpty);
  const outcomes = await Promise.allSettled(senders);
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  return results;
}
