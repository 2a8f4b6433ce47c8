import type { SchedulerLimits, StepPlan } from "../scheduler.ts";
import type { SequenceTable } from "../sequence-table.ts";

/** A plan with room for the largest step of a baseline. */
export function createPlan(limits: SchedulerLimits): StepPlan {
  return {
    numSeqs: 0,
    numTokens: 0,
    rows: new Int32Array(limits.maxNumSeqs),
    numNewTokens: new Int32Array(limits.maxNumSeqs),
  };
}

export function clearPlan(plan: StepPlan): void {
  plan.numSeqs = 0;
  plan.numTokens = 0;
}

/** Plans as many tokens of a row as it misses and the step still takes. */
export function planRow(plan: StepPlan, row: number, table: SequenceTable, limits: SchedulerLimits): void {
  const missing = table.numTarget[row]! - table.numComputed[row]!;
  const most = limits.longPrefillTokenThreshold || missing;
  const count = Math.min(missing, most, limits.maxNumBatchedTokens - plan.numTokens);
  if (count <= 0) return;
  plan.rows[plan.numSeqs] = row;
  plan.numNewTokens[plan.numSeqs] = count;
  plan.numSeqs += 1;
  plan.numTokens += count;
}

/** Advances every planned row by its tokens; a token drawn in the step is computed in the next one. */
export function commitPlan(plan: StepPlan, table: SequenceTable): void {
  for (let index = 0; index < plan.numSeqs; index += 1)
    table.numComputed[plan.rows[index]!]! += plan.numNewTokens[index]!;
}
