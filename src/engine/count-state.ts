import type { EngineCore } from "./engine-core.ts";

/** Shows how full queue, scheduler and KV cache are. What happens in them they count themselves. */
export function countState({ counters, admission, scheduler, kv }: EngineCore): void {
  counters.set("numRunning", scheduler.numRunning);
  counters.set("numWaiting", scheduler.numWaiting);
  counters.set("numDeferred", admission.queue.numAside);
  counters.set("numWaitingTokens", admission.queue.numWaitingTokens);
  counters.set("retryAfterSeconds", admission.isFull(scheduler) ? admission.retryAfterSeconds(scheduler) : 0);
  counters.set("numFreeBlocks", kv.numFree);
  counters.set("numSwapped", kv.numSwappedRows);
}
