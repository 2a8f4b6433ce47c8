export interface PoolOptions {
  /** Items at work at most. */
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Works on items in their order with a bounded number at work at once. The first failure, or the signal, begins no more
 * and is thrown when what is at work has ended.
 */
export async function workThrough<T>(
  items: readonly T[],
  { concurrency, signal }: PoolOptions,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  let hasFailed = false;
  const workUntilEmpty = async (): Promise<void> => {
    while (next < items.length && !hasFailed) {
      const item = items[next]!;
      next += 1;
      try {
        signal?.throwIfAborted();
        await work(item);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const workers = Array.from({ length: Math.min(concurrency, items.length) }, workUntilEmpty);
  const outcomes = await Promise.allSettled(workers);
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
