import fc from "fast-check";
import { expect, test } from "vitest";
import { createVictimPolicy, defaultVictims, type VictimPolicyName } from "./victim-policy.ts";

const priorities = Int32Array.of(0, 5, 5, 1, 9);
const numBlocks = Int32Array.of(9, 2, 7, 7, 1);
const running = Int32Array.of(4, 0, 1, 2, 3);

function choose(name: VictimPolicyName, from: number, numRunning: number): number {
  return createVictimPolicy(name, { priorities, numBlocks }).chooseVictim(running, from, numRunning);
}

test("lifo takes the one started last, fifo the candidate that has run longest", () => {
  expect(choose("lifo", 1, 5)).toBe(4);
  expect(choose("lifo", 1, 3)).toBe(2);
  expect(choose("fifo", 1, 5)).toBe(1);
});

test("priority takes the highest number, of equal ones the one started last", () => {
  expect(choose("priority", 0, 5)).toBe(0);
  expect(choose("priority", 1, 5)).toBe(3);
  expect(choose("priority", 1, 3)).toBe(2);
});

test("size takes the one with most blocks, of equal ones the one started last", () => {
  expect(choose("size", 0, 5)).toBe(1);
  expect(choose("size", 2, 5)).toBe(4);
});

test("what is planned already is never chosen, and the one in need goes when it is alone", () => {
  const names = fc.constantFrom<VictimPolicyName>("lifo", "fifo", "priority", "size");
  fc.assert(
    fc.property(names, fc.nat(4), fc.integer({ min: 1, max: 5 }), (name, from, size) => {
      const numRunning = Math.min(running.length, from + size);
      const victim = choose(name, from, numRunning);
      expect(victim).toBeGreaterThanOrEqual(from);
      expect(victim).toBeLessThan(numRunning);
    }),
  );
});

test("memory goes by priority where order does, unless it is said otherwise", () => {
  expect(defaultVictims("priority")).toBe("priority");
  expect(defaultVictims("fcfs")).toBe("lifo");
  expect(defaultVictims("fair")).toBe("lifo");
});
