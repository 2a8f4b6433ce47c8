import type { EngineCounters } from "./engine-stats.ts";
import type { KvManager } from "./kv-manager.ts";
import type { Scheduler } from "./scheduler.ts";

/** Copies what the scheduler and the KV cache say of themselves into the figures that others read. */
export function countState(counters: EngineCounters, scheduler: Scheduler, kv: KvManager): void {
  counters.set("numRunning", scheduler.numRunning);
  counters.set("numWaiting", scheduler.numWaiting);
  counters.set("numFreeBlocks", kv.numFree);
  counters.set("numPreemptions", scheduler.numPreemptions);
  counters.set("numSwapped", kv.numSwappedRows);
  counters.set("prefixCacheQueries", kv.numQueriedTokens);
  counters.set("prefixCacheHits", kv.numHitTokens);
  counters.set("numSwappedBlocks", kv.numSwappedBlocks);
  counters.set("numRecomputedTokens", kv.numLostTokens);
  counters.set("numPrefixMismatches", kv.numMismatches);
}
