import { expect, test } from "vitest";
import { madeUpRequest, stageOf } from "../../tests/load-stage.ts";
import type { RequestRecord } from "../records/bench.ts";

/** One request: `tokens` tokens, one every `gapMs`, the first after `gapMs`; `perRead` tokens share an arrival. */
function request(
  index: number,
  sentMs: number,
  shape: { gapMs: number; tokens?: number; perRead?: number },
): RequestRecord {
  const { gapMs, tokens = 8, perRead = 1 } = shape;
  const chunkMs = Array.from({ length: tokens }, (_, i) => {
    const read = Math.floor(i / perRead);
    return sentMs + gapMs * (1 + Math.min(tokens - 1, read * perRead + perRead - 1));
  });
  const coalesced = chunkMs.map((_, i) => i % perRead !== 0);
  return madeUpRequest({ index, sentMs, chunkMs, coalesced, promptTokens: 16, outputTokens: tokens });
}

test("slices hold whole rounds of the users, and the rest joins the last", () => {
  const records = Array.from({ length: 11 }, (_, index) =>
    request(index, Math.floor(index / 4) * 80, { gapMs: 10 }),
  );
  const { slices } = stageOf(records, { durationMs: 240, concurrency: 4 });
  expect(slices.map((slice) => slice.numRequests)).toEqual([4, 7]);
  expect(slices[0]!.outputTokensPerSecond).toBeCloseTo((4 * 8) / 0.08, 9);
});

test("where requests were due, the times of slices run from then", () => {
  const held = [0, 1, 2, 3].map((index) => ({
    ...request(index, 80 * index, { gapMs: 10 }),
    dueMs: 5 * index,
  }));
  const times = ({ slices }: ReturnType<typeof stageOf>) =>
    slices.map(({ ttftMs, tpotMs, e2eMs }) => [ttftMs, tpotMs, e2eMs]);
  expect(times(stageOf(held, { durationMs: 320, concurrency: 1 }))).toEqual(
    [0, 75, 150, 225].map((waitMs) => [waitMs + 10, 10, waitMs + 80]),
  );
  const asSent = held.map((record) => ({ ...record, dueMs: null }));
  expect(times(stageOf(asSent, { durationMs: 320, concurrency: 1 }))).toEqual(
    [0, 0, 0, 0].map(() => [10, 10, 80]),
  );
});

test("a stage may have more requests than a call has arguments", () => {
  const records = Array.from({ length: 200_000 }, (_, index) =>
    madeUpRequest({
      index,
      sentMs: index,
      chunkMs: [index + 1, index + 2],
      promptTokens: 1,
      outputTokens: 2,
    }),
  );
  const { slices, numRequests } = stageOf(records, { durationMs: 200_001, concurrency: 4 });
  expect(numRequests).toBe(200_000);
  expect(slices).toHaveLength(20);
});

test("tokens that arrive together are counted, and ITL is what they stretch", () => {
  const alone = stageOf([request(0, 0, { gapMs: 10 })], { durationMs: 100, concurrency: 1 });
  const paired = stageOf([request(0, 0, { gapMs: 10, perRead: 2 })], { durationMs: 100, concurrency: 1 });
  expect(alone.tokensPerArrival).toBe(1);
  expect(paired.tokensPerArrival).toBe(2);
  expect(alone.itlMs!.mean).toBeCloseTo(10, 9);
  expect(paired.itlMs!.mean).toBeCloseTo(20, 9);
  expect(alone.tpotMs!.mean).toBeCloseTo(10, 9);
});

test("answers that come whole have tokens and no arrivals to share them", () => {
  const whole = madeUpRequest({ index: 0, sentMs: 0, chunkMs: [], promptTokens: 1, outputTokens: 8 });
  expect(stageOf([whole], { durationMs: 10, concurrency: 1 }).tokensPerArrival).toBeNull();
});
