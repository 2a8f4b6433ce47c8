import { expect, test } from "vitest";
import { brokenRounds } from "./broken-rounds.ts";

/** A part of a round that began so many seconds after noon and took 30. */
const part = (round: number, seconds: number, readyMs: number | null = 2000) => ({
  round,
  readyMs,
  bench: {
    origin: {
      startedAt: new Date(Date.UTC(2026, 0, 1, 12) + 1000 * seconds).toISOString(),
      durationMs: 30_000,
    },
  },
});

test("a round whose parts follow each other is whole, in whatever order they come", () => {
  expect(brokenRounds([part(1, 40), part(1, 0), part(2, 200), part(2, 240)])).toEqual([]);
});

test("the start of a server is no pause", () => {
  expect(brokenRounds([part(1, 0), part(1, 120, 85_000)])).toEqual([]);
  expect(brokenRounds([part(1, 0), part(1, 120, null)])).toHaveLength(1);
});

test("the longest pause of each broken round is told", () => {
  const told = brokenRounds([part(1, 0), part(1, 40), part(2, 100), part(2, 200), part(2, 532)]);
  expect(told).toEqual([expect.stringMatching(/^The parts of round 2 were measured 5 min 00 s apart/)]);
});
