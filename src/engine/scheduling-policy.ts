/**
 * The order in which sequences wait. Rows are those of the sequence table. A policy holds no clock and draws no
 * random numbers: equal calls give equal answers. Who gives way when no block is free is a `VictimPolicy`'s answer.
 */
export interface SchedulingPolicy {
  readonly numWaiting: number;
  /** A new sequence. What the policy reads of its row (priority, tenant) is set before. */
  enqueue(row: number): void;
  /** A preempted sequence, which waits again. It keeps its place by arrival. */
  requeue(row: number): void;
  /** The next to start, or −1. It stays in the queue. */
  peek(): number;
  /** Takes a waiting sequence out, wherever it stands. */
  remove(row: number): void;
  /** A waiting sequence is not to be offered until it is called back. It and its tenant wait all the same. */
  setAside(row: number): void;
  /** A sequence that was set aside comes back to its place by arrival. */
  callBack(row: number): void;
  /** A sequence, running or waiting, had `numTokens` tokens computed that count as served to it. */
  charge(row: number, numTokens: number): void;
  /** Whether the waiting `row` is sure to start before a newcomer of this priority and tenant. */
  isAhead(row: number, priority: number, tenant: number): boolean;
}

/** Names of the policies, as the command line has them. */
export type SchedulingPolicyName = "fcfs" | "priority" | "fair";
