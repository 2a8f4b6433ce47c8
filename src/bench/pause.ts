import { setTimeout } from "node:timers/promises";

/** Waits so long. Rejects with the signal's reason, where the timer itself would reject with an error of its own. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await setTimeout(milliseconds, undefined, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
