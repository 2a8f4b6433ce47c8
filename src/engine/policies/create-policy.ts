import type { SchedulingPolicy, SchedulingPolicyName } from "../scheduling-policy.ts";
import type { TenantTable } from "../tenant-table.ts";
import { FairQueueing } from "./fair-queueing.ts";
import { FcfsPolicy } from "./fcfs.ts";
import { PriorityPolicy } from "./priority.ts";

/** The policy of a name, over what the rows say of themselves. */
export function createPolicy(
  name: SchedulingPolicyName,
  priorities: Int32Array,
  tenants: TenantTable,
): SchedulingPolicy {
  switch (name) {
    case "fcfs":
      return new FcfsPolicy(priorities.length);
    case "priority":
      return new PriorityPolicy(priorities);
    case "fair":
      return new FairQueueing(tenants);
  }
}
