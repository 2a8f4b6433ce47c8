import type { ModelResponse, PreparedRequest } from "./model-request.ts";

export interface PoolOptions {
  /** Requests in flight at most. */
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
  /** Called after each request. */
  readonly onDone: (index: number, response: ModelResponse) => void;
}

/**
 * Sends requests with a bounded number in flight, in the order of `sendOrder`, which holds indices. The first failure
 * stops the sending and is thrown when the requests in flight have ended.
 */
export async function sendAll(
  requests: readonly PreparedRequest[],
  sendOrder: readonly number[],
  { concurrency, signal, onDone }: PoolOptions,
): Promise<void> {
  let next = 0;
  let hasFailed = false;
  const sendUntilEmpty = async (): Promise<void> => {
    while (next < sendOrder.length && !hasFailed) {
      const index = sendOrder[next]!;
      next += 1;
      try {
        signal?.throwIfAborted();
        onDone(index, await requests[index]!.send(signal));
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const senders = Array.from({ length: Math.min(concurrency, requests.length) }, sendUntilEmpty);
  const outcomes = await Promise.allSettled(senders);
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
