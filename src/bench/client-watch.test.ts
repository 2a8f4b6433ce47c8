import { setTimeout } from "node:timers/promises";
import { expect, test } from "vitest";
import { ClientWatch, clientHealth, type ThreadHealth } from "./client-watch.ts";

const calm: ThreadHealth = {
  eventLoopDelayP99Ms: 0,
  longestStallMs: 0,
  processCpuSeconds: 0,
  waitSeconds: 0,
  seconds: 100,
};
const faultsOf = (more: Partial<ThreadHealth>): string =>
  clientHealth([calm, { ...calm, ...more }], null, { numUnsent: 0, hasAnswers: true }).faults.join("; ");

test("a client that stood still for long does not count; what a busy machine does to any is let pass", () => {
  expect(faultsOf({ longestStallMs: 8000 })).toBe("the client stood still for 8.0 s");
  expect(faultsOf({ longestStallMs: 900 })).toBe("");
  const short = (longestStallMs: number): string =>
    clientHealth([{ ...calm, seconds: 4, longestStallMs }], null, {
      numUnsent: 0,
      hasAnswers: true,
    }).faults.join();
  expect(short(500)).toMatch(/stood still for 0\.5 s/);
  expect(short(200)).toBe("");
});

test("says how many requests were not sent, be it one", () => {
  const unsent = (numUnsent: number): readonly string[] =>
    clientHealth([calm], null, { numUnsent, hasAnswers: true }).faults;
  expect(unsent(1)).toEqual(["1 request was due and not sent"]);
  expect(unsent(2)).toEqual(["2 requests were due and not sent"]);
});

test("one stall among many turns is found", async () => {
  const watch = new ClientWatch();
  await setTimeout(50);
  const start = performance.now();
  while (performance.now() - start < 300);
  await setTimeout(600);
  const { longestStallMs } = watch.end();
  expect(longestStallMs).toBeGreaterThan(250);
});
