import { expect, test } from "vitest";
import { GuessCosts } from "./guess-costs.ts";

test("tells what guesses make a step longer, once that was measured some times", () => {
  const costs = new GuessCosts();
  expect(costs.plainMs(1)).toBe(0);
  for (let step = 0; step < 3; step += 1) costs.observe(1, 1, 8);
  expect(costs.plainMs(1)).toBe(0);
  costs.observe(1, 1, 8);
  expect(costs.plainMs(1)).toBe(8);
  for (let step = 0; step < 3; step += 1) costs.observe(5, 1, 14);
  expect(costs.verifyMs(1, 4)).toBe(0);
  costs.observe(5, 1, 14);
  expect(costs.verifyMs(1, 4)).toBe(6);
});

test("keeps steps with guesses apart from steps of as many sequences", () => {
  const costs = new GuessCosts();
  for (let step = 0; step < 4; step += 1) {
    costs.observe(4, 4, 10);
    costs.observe(4, 1, 20);
  }
  expect(costs.plainMs(4)).toBe(10);
  expect(costs.plainMs(1)).toBe(0);
});

test("a slow beginning is forgotten", () => {
  const costs = new GuessCosts();
  costs.observe(1, 1, 400);
  for (let step = 0; step < 4; step += 1) costs.observe(1, 1, 8);
  expect(costs.plainMs(1)).toBeLessThan(13);
});

test("guesses are never a gain by themselves, and one slow step counts little", () => {
  const costs = new GuessCosts();
  for (let step = 0; step < 100; step += 1) costs.observe(1, 1, 8);
  for (let step = 0; step < 4; step += 1) costs.observe(2, 1, 7);
  expect(costs.verifyMs(1, 1)).toBe(0);
  costs.observe(1, 1, 8000);
  expect(costs.plainMs(1)).toBeLessThan(9);
});

test("a size that was not measured costs as much per guess as the largest that was, and is twice as large at most", () => {
  const costs = new GuessCosts();
  for (let step = 0; step < 4; step += 1) {
    costs.observe(32, 32, 34);
    costs.observe(36, 32, 38);
  }
  expect(costs.verifyMs(32, 128)).toBeCloseTo(128, 6);
  expect(costs.mostDrafts(32, 4)).toBe(40);
  expect(costs.mostDrafts(80, 4)).toBe(4);
});
