import fc from "fast-check";
import { expect, test } from "vitest";
import { PriorityPolicy } from "./priority.ts";

test("starts in order of priority, then of arrival, as sorting all of them at once would", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 40 }), (values) => {
      const policy = new PriorityPolicy(Int32Array.from(values));
      for (const row of values.keys()) policy.enqueue(row);
      const started: number[] = [];
      while (policy.numWaiting > 0) {
        const row = policy.peek();
        policy.remove(row);
        started.push(row);
      }
      const expected = [...values.keys()].toSorted((a, b) => values[a]! - values[b]! || a - b);
      expect(started).toEqual(expected);
      expect(policy.peek()).toBe(-1);
    }),
  );
});

test("extreme priorities are compared without overflow", () => {
  const policy = new PriorityPolicy(Int32Array.of(2 ** 31 - 1, -(2 ** 31)));
  policy.enqueue(0);
  policy.enqueue(1);
  expect(policy.peek()).toBe(1);
});

test("a preempted sequence comes back before later ones of its priority, and behind more urgent ones", () => {
  const policy = new PriorityPolicy(Int32Array.of(1, 1, 0));
  policy.enqueue(0);
  policy.enqueue(1);
  policy.remove(0);
  policy.requeue(0);
  expect(policy.peek()).toBe(0);
  policy.enqueue(2);
  expect(policy.peek()).toBe(2);
});

test("there is no aging: a low priority waits as long as higher ones come", () => {
  const policy = new PriorityPolicy(Int32Array.of(5, 0));
  policy.enqueue(0);
  for (let count = 0; count < 1000; count += 1) {
    policy.enqueue(1);
    expect(policy.peek()).toBe(1);
    policy.remove(1);
  }
  expect(policy.peek()).toBe(0);
});

test("those of a lower or equal number are ahead of a newcomer", () => {
  const policy = new PriorityPolicy(Int32Array.of(-1, 0, 1));
  expect([0, 1, 2].map((row) => policy.isAhead(row, 0, -1))).toEqual([true, true, false]);
});
