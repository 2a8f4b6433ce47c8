import assert from "node:assert/strict";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FcfsPolicy } from "./fcfs.ts";

const numRows = 8;

const actions = fc.array(
  fc.record({ kind: fc.constantFrom("enqueue", "start", "preempt", "abort"), pick: fc.nat(numRows - 1) }),
  { maxLength: 120 },
);

test("the next to start is always the one that arrived first, whoever was preempted in which order", () => {
  fc.assert(
    fc.property(actions, (history) => {
      const policy = new FcfsPolicy(numRows);
      const arrivals = new Map<number, number>();
      const waiting = new Set<number>();
      const running = new Set<number>();
      let nextArrival = 0;
      for (const { kind, pick } of history) {
        const first = policy.peek();
        if (kind === "enqueue" && !waiting.has(pick) && !running.has(pick)) {
          arrivals.set(pick, nextArrival);
          nextArrival += 1;
          policy.enqueue(pick);
          waiting.add(pick);
        } else if (kind === "start" && first !== -1) {
          policy.remove(first);
          waiting.delete(first);
          running.add(first);
        } else if (kind === "preempt" && running.has(pick)) {
          policy.requeue(pick);
          running.delete(pick);
          waiting.add(pick);
        } else if (kind === "abort" && waiting.has(pick)) {
          policy.remove(pick);
          waiting.delete(pick);
        }
        const oldest = [...waiting].toSorted((a, b) => arrivals.get(a)! - arrivals.get(b)!)[0] ?? -1;
        assert.equal(policy.peek(), oldest);
        assert.equal(policy.numWaiting, waiting.size);
      }
    }),
  );
});

test("nobody starves: whatever comes later, one waits for no more starts than there were before it", () => {
  const policy = new FcfsPolicy(numRows);
  for (let row = 0; row < numRows; row += 1) policy.enqueue(row);
  const started: number[] = [];
  for (let count = 0; count < numRows; count += 1) {
    const row = policy.peek();
    policy.remove(row);
    started.push(row);
    policy.enqueue(row);
  }
  expect(started).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test("a row waits at most once and leaves at most once", () => {
  const policy = new FcfsPolicy(2);
  policy.enqueue(1);
  expect(() => policy.enqueue(1)).toThrow("already waiting");
  policy.remove(1);
  expect(() => policy.remove(1)).toThrow("not waiting");
});
