import type { AdmissionControl } from "../admission-control.ts";
import { createKvManager } from "../create-kv-manager.ts";
import { EngineCounters } from "../engine-stats.ts";
import type { PreemptionCosts } from "../kv-manager.ts";
import { Scheduler, type SchedulerLimits } from "../scheduler.ts";
import type { SequenceTable } from "../sequence-table.ts";
import { createVictimPolicy, type VictimPolicyName } from "../victim-policy.ts";
import { BatchServing } from "./batch-serving.ts";
import { ContiguousServing } from "./contiguous-serving.ts";
import { PagedServing } from "./paged-serving.ts";
import type { ServingPolicy } from "./serving-policy.ts";

/**
 * How requests share the machine: `continuous` is the engine itself (continuous batching, paged KV); `contiguous`
 * continuous batching with KV reserved in one piece; `dynamic` and `static` batch by batch, with and without a timeout.
 */
export type ServingName = "continuous" | "contiguous" | "dynamic" | "static";

export interface ServingSettings {
  readonly serving: ServingName;
  readonly limits: SchedulerLimits;
  readonly victims: VictimPolicyName;
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly numHostBlocks: number;
  readonly isPrefixCaching: boolean;
  /** How long `dynamic` waits for a full batch, in milliseconds. */
  readonly batchTimeoutMs: number;
}

/** The policy of a name, over the table and the waiting queue of a simulated engine. */
export function createServing(
  settings: ServingSettings,
  table: SequenceTable,
  admission: AdmissionControl,
  costs: PreemptionCosts,
): ServingPolicy {
  const { limits, serving, numBlocks, blockSize } = settings;
  const { queue } = admission;
  const baseline = { limits, table, queue, numCacheTokens: numBlocks * blockSize };
  switch (serving) {
    case "continuous":
      return createPaged(settings, table, admission, costs);
    case "contiguous":
      return new ContiguousServing(baseline);
    case "dynamic":
      return new BatchServing(baseline, settings.batchTimeoutMs);
    case "static":
      return new BatchServing(baseline, Number.POSITIVE_INFINITY);
  }
}

function createPaged(
  settings: ServingSettings,
  table: SequenceTable,
  admission: AdmissionControl,
  costs: PreemptionCosts,
): PagedServing {
  const { limits, isPrefixCaching } = settings;
  const { queue, priorities } = admission;
  const counters = new EngineCounters();
  const kv = createKvManager({ ...settings, isSharing: isPrefixCaching }, { table, costs, counters });
  const victims = createVictimPolicy(settings.victims, { priorities, numBlocks: table.numBlocks });
  const scheduler = new Scheduler({ limits, table, kv, queue, victims, counters });
  return new PagedServing({ ...settings, scheduler, kv, counters });
}
