import type { SchedulingPolicyName } from "./scheduling-policy.ts";

/** Says which running sequence gives way when no block is free. It has nothing to do with the order of waiting. */
export interface VictimPolicy {
  /**
   * Index in `running` of the sequence to preempt. Rows stand there in the order in which they were started.
   * Candidates are running[from … numRunning − 1], those that this step has not planned yet: the one in need stands
   * at `from` and may be its own victim. There is always that one.
   */
  chooseVictim(running: Int32Array, from: number, numRunning: number): number;
}

/** Names of the policies, as the command line has them. */
export type VictimPolicyName = "lifo" | "fifo" | "priority" | "size";

/** Who gives way unless it is said: where order goes by priority, memory does too, as in vLLM. */
export function defaultVictims(schedulingPolicy: SchedulingPolicyName): VictimPolicyName {
  return schedulingPolicy === "priority" ? "priority" : "lifo";
}

/** What the policies read of the rows. */
export interface VictimArrays {
  readonly priorities: Int32Array;
  readonly numBlocks: Int32Array;
}

export function createVictimPolicy(name: VictimPolicyName, arrays: VictimArrays): VictimPolicy {
  switch (name) {
    case "lifo":
      return lifoVictims;
    case "fifo":
      return fifoVictims;
    case "priority":
      return new LargestVictims(arrays.priorities);
    case "size":
      return new LargestVictims(arrays.numBlocks);
  }
}

/** Last in, first out: the sequence started last, which has the least work to lose. The first one always goes on. */
export const lifoVictims: VictimPolicy = {
  chooseVictim(_running, _from, numRunning) {
    return numRunning - 1;
  },
};

/**
 * First in, first out: the candidate that has run longest, which is the one in need itself. So a sequence never
 * takes memory from those started after it, and long answers give way to short ones.
 */
const fifoVictims: VictimPolicy = {
  chooseVictim(_running, from) {
    return from;
  },
};

/**
 * The candidate with the largest value, of equal ones the one started last: the largest priority number (vLLM's
 * choice under its priority policy), or the most KV blocks, so that as few sequences as possible give way.
 */
class LargestVictims implements VictimPolicy {
  readonly #values: Int32Array;

  /** @param values [rows of the sequence table] */
  constructor(values: Int32Array) {
    this.#values = values;
  }

  chooseVictim(running: Int32Array, from: number, numRunning: number): number {
    let victim = from;
    for (let index = from + 1; index < numRunning; index += 1) {
      if (this.#values[running[index]!]! >= this.#values[running[victim]!]!) victim = index;
    }
    return victim;
  }
}
