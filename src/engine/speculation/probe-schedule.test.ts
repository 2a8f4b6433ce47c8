import { expect, test } from "vitest";
import { ProbeSchedule } from "./probe-schedule.ts";

/** Steps until the row is due. */
function waitFor(probes: ProbeSchedule, row: number): number {
  let numSteps = 1;
  while (!probes.wait(row, 1)) numSteps += 1;
  return numSteps;
}

test("doubles the steps between probes that do not pay, up to a limit", () => {
  const probes = new ProbeSchedule(1);
  probes.open(0);
  const waits = Array.from({ length: 9 }, () => {
    const wait = waitFor(probes, 0);
    probes.record(0, false);
    return wait;
  });
  expect(waits).toEqual([17, 33, 65, 129, 257, 513, 1025, 1025, 1025]);
});

test("probes again at once after one that paid, and from the start after the next failure", () => {
  const probes = new ProbeSchedule(2);
  probes.open(0);
  for (let failure = 0; failure < 5; failure += 1) probes.record(0, false);
  probes.record(0, true);
  expect(waitFor(probes, 0)).toBe(1);
  probes.record(0, false);
  expect(waitFor(probes, 0)).toBe(33);
});

test("a row that is due stays so", () => {
  const probes = new ProbeSchedule(1);
  probes.open(0);
  waitFor(probes, 0);
  expect([waitFor(probes, 0), waitFor(probes, 0)]).toEqual([1, 1]);
});

test("pays a loss off with a hundredth of the time that passes, and saves nothing up", () => {
  const probes = new ProbeSchedule(1);
  probes.passTime(1e6);
  expect(probes.isInDebt).toBe(false);
  probes.charge(10);
  probes.passTime(999);
  expect(probes.isInDebt).toBe(true);
  probes.passTime(2);
  expect(probes.isInDebt).toBe(false);
  probes.charge(4);
  probes.charge(-5);
  probes.passTime(0);
  probes.charge(0.5);
  expect(probes.isInDebt).toBe(true);
});
