import { expect, test } from "vitest";
import type { RequestRecord } from "../records/bench.ts";
import type { LoadFigures } from "../records/load-figures.ts";
import { loadFigures } from "./load-figures.ts";

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
  return {
    index,
    turn: 0,
    endpoint: 0,
    dueMs: null,
    sentMs,
    firstTokenMs: chunkMs[0]!,
    lastTokenMs: chunkMs.at(-1)!,
    endMs: chunkMs.at(-1)!,
    askedOutputTokens: tokens,
    promptTokens: 16,
    outputTokens: tokens,
    cachedTokens: null,
    chunkMs,
    coalesced: chunkMs.map((_, i) => i % perRead !== 0),
    chunkTokens: null,
    finishReason: "length",
    status: 200,
    error: null,
    errorKind: null,
    retryAfterSeconds: null,
  };
}

const client = { cpuShare: 0, eventLoopDelayP99Ms: 0, scheduleDelayMs: null, numUnsent: 0, faults: [] };

function figuresOf(records: readonly RequestRecord[], durationMs: number, usersAtOnce: number): LoadFigures {
  const unwatched = { targets: [], offeredMs: null, server: null, serverProcess: null };
  return loadFigures(records, { durationMs, client, usersAtOnce, ...unwatched });
}

test("slices hold whole rounds of the users, and the rest joins the last", () => {
  const records = Array.from({ length: 11 }, (_, index) =>
    request(index, Math.floor(index / 4) * 80, { gapMs: 10 }),
  );
  const { slices } = figuresOf(records, 240, 4);
  expect(slices.map((slice) => slice.numRequests)).toEqual([4, 7]);
  expect(slices[0]!.outputTokensPerSecond).toBeCloseTo((4 * 8) / 0.08, 9);
});

test("tokens that arrive together are counted, and ITL is what they stretch", () => {
  const alone = figuresOf([request(0, 0, { gapMs: 10 })], 100, 1);
  const paired = figuresOf([request(0, 0, { gapMs: 10, perRead: 2 })], 100, 1);
  expect(alone.tokensPerArrival).toBe(1);
  expect(paired.tokensPerArrival).toBe(2);
  expect(alone.itlMs!.mean).toBeCloseTo(10, 9);
  expect(paired.itlMs!.mean).toBeCloseTo(20, 9);
  expect(alone.tpotMs!.mean).toBeCloseTo(10, 9);
});
