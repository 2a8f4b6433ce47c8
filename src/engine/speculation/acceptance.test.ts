import { expect, test } from "vitest";
import { Acceptance } from "./acceptance.ts";

test("guesses as deep as it pays, and not at all where it never does", () => {
  const acceptance = new Acceptance(2, 8);
  acceptance.open(0);
  acceptance.open(1);
  for (let step = 0; step < 40; step += 1) {
    acceptance.record(0, 8, 8);
    acceptance.record(1, 1, 0);
  }
  expect(acceptance.depth(0, 0.3)).toBe(8);
  expect(acceptance.depth(1, 0.3)).toBe(0);
  expect(acceptance.depth(0, 1)).toBe(0);
});

test("tries again now and then, in case the text has changed", () => {
  const acceptance = new Acceptance(1, 4);
  acceptance.open(0);
  for (let step = 0; step < 40; step += 1) acceptance.record(0, 1, 0);
  const depths = Array.from({ length: 100 }, () => acceptance.depth(0, 0.5));
  const numProbes = depths.filter((depth) => depth === 1).length;
  expect(numProbes).toBeGreaterThan(1);
  expect(numProbes).toBeLessThan(6);
  expect(Math.max(...depths)).toBe(1);
});

test("counts guesses and right ones by place", () => {
  const acceptance = new Acceptance(1, 3);
  acceptance.open(0);
  acceptance.record(0, 3, 1);
  acceptance.record(0, 2, 2);
  expect([...acceptance.numDrafted]).toEqual([2, 2, 1]);
  expect([...acceptance.numAccepted]).toEqual([2, 1, 0]);
});
