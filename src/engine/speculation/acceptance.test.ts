import { expect, test } from "vitest";
import { Acceptance } from "./acceptance.ts";

const capacity = 3;

test("learns each row's share of right guesses, and foresees how many will be right", () => {
  const [acceptance, changing] = [new Acceptance(capacity), new Acceptance(capacity)];
  for (const row of [0, 1]) acceptance.open(row);
  changing.open(2);
  for (let step = 0; step < 200; step += 1) {
    acceptance.record(0, 8, 8);
    acceptance.record(1, 8, 0);
    changing.record(2, 1, step % 2);
  }
  expect(acceptance.expectedRight(0, 8)).toBeGreaterThan(7.9);
  expect(acceptance.expectedRight(1, 8)).toBeLessThan(0.02);
  expect(changing.expectedRight(2, 1)).toBeCloseTo(0.5, 1);
  expect(changing.expectedRight(2, 8)).toBeCloseTo(1, 0);
});

test("expects fewer where high rates have been luck", () => {
  const [lucky, even] = [new Acceptance(capacity), new Acceptance(capacity)];
  for (const acceptance of [lucky, even]) acceptance.open(0);
  // Wrong whenever the rate has risen, right whenever it has fallen.
  for (let step = 0; step < 400; step += 1) lucky.record(0, 1, step % 8 < 4 ? 1 : 0);
  for (let step = 0; step < 400; step += 1) even.record(0, 1, step % 2);
  for (const acceptance of [lucky, even]) for (let step = 0; step < 30; step += 1) acceptance.record(0, 1, 1);
  expect(lucky.expectedRight(0, 1)).toBeLessThan(even.expectedRight(0, 1));
});

test("goes as deep as each guess is likely enough", () => {
  const acceptance = new Acceptance(capacity);
  acceptance.open(0);
  // The rate that is assumed before anything was guessed.
  expect(acceptance.depth(0, 0.7 ** 3 + 1e-9, 16)).toBe(2);
  expect(acceptance.depth(0, 0.7 ** 3 - 1e-9, 16)).toBe(3);
  expect(acceptance.depth(0, 0, 5)).toBe(5);
  expect(acceptance.depth(0, 0.8, 5)).toBe(0);
});

test("counts no guess that follows a wrong one", () => {
  const [one, other] = [new Acceptance(capacity), new Acceptance(capacity)];
  for (const acceptance of [one, other]) acceptance.open(0);
  one.record(0, 8, 2);
  other.record(0, 3, 2);
  expect(one.expectedRight(0, 4)).toBe(other.expectedRight(0, 4));
});

test("lets a new row begin where the others are", () => {
  const acceptance = new Acceptance(capacity);
  acceptance.open(0);
  for (let step = 0; step < 500; step += 1) acceptance.record(0, 4, 0);
  acceptance.open(1);
  expect(acceptance.expectedRight(1, 1)).toBeLessThan(0.01);
  acceptance.record(1, 4, 4);
  expect(acceptance.expectedRight(1, 1)).toBeGreaterThan(0.3);
});
