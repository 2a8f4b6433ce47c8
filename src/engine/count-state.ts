import type { AdmissionControl } from "./admission-control.ts";
import type { EngineCounters } from "./engine-stats.ts";
import type { KvManager } from "./kv-manager.ts";
import type { Scheduler } from "./scheduler.ts";

interface EngineState {
  readonly admission: AdmissionControl;
  readonly scheduler: Scheduler;
  readonly kv: KvManager;
}

/** Copies what the queue, the scheduler and the KV cache say of themselves into the figures that others read. */
export function countState(counters: EngineCounters, { admission, scheduler, kv }: EngineState): void {
  counters.set("numRunning", scheduler.numRunning);
  counters.set("numWaiting", scheduler.numWaiting);
  counters.set("numDeferred", admission.queue.numAside);
  counters.set("numWaitingTokens", admission.queue.numWaitingTokens);
  counters.set("retryAfterSeconds", admission.isFull(scheduler) ? admission.retryAfterSeconds(scheduler) : 0);
  counters.set("numFreeBlocks", kv.numFree);
  counters.set("numPreemptions", scheduler.numPreemptions);
  counters.set("numSwapped", kv.numSwappedRows);
  counters.set("prefixCacheQueries", kv.numQueriedTokens);
  counters.set("prefixCacheHits", kv.numHitTokens);
  counters.set("numSwappedBlocks", kv.numSwappedBlocks);
  counters.set("numRecomputedTokens", kv.numLostTokens);
  counters.set("numPrefixMismatches", kv.numMismatches);
}
