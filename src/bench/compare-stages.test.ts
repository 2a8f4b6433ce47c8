import { expect, test } from "vitest";
import type { BenchStage, RequestRecord } from "../records/bench.ts";
import type { LoadFigures } from "../records/load-figures.ts";
import { compareStages } from "./compare-stages.ts";
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

/** A stage of one user whose answers take these milliseconds per token. */
function stage(gaps: readonly number[]): BenchStage {
  let nowMs = 0;
  const records = gaps.map((gapMs, index) => {
    const record = request(index, nowMs, { gapMs });
    nowMs = record.endMs;
    return record;
  });
  return { concurrency: 1, ...figuresOf(records, nowMs, 1) };
}

const verdicts = (base: readonly number[], compressed: readonly number[]): Record<string, string> =>
  Object.fromEntries(
    compareStages([stage(base)], [stage(compressed)]).map((row) => [row.metric, row.verdict]),
  );

const steady = [10, 10.2, 9.9, 10.1, 10, 9.8];
const none = "no difference that this run can show";

test("names a difference that is larger than the noise, in every metric", () => {
  const quick = steady.map((gap) => gap / 1.5);
  expect(verdicts(steady, quick)).toEqual({
    outputTokensPerSecond: "faster",
    ttftMs: "faster",
    tpotMs: "faster",
    e2eMs: "faster",
  });
  expect(verdicts(quick, steady).outputTokensPerSecond).toBe("slower");
});

test("claims nothing where the noise is as large as the difference", () => {
  const noisy = [6, 14, 9, 12, 5, 13];
  expect(verdicts(steady, noisy)).toEqual({
    outputTokensPerSecond: none,
    ttftMs: none,
    tpotMs: none,
    e2eMs: none,
  });
  expect(verdicts(steady, [10])["outputTokensPerSecond"]).toBe("too few requests to tell");
});

test("the ratio is that of the stages' own figures and lies inside its interval", () => {
  const [row] = compareStages([stage(steady)], [stage([8, 8.3, 7.9, 8.1])]);
  expect(row!.ratio).toBeCloseTo(row!.compressed / row!.base, 12);
  expect(row!.numSlices).toEqual([6, 4]);
  expect(row!.ratioLow!).toBeLessThan(row!.ratio);
  expect(row!.ratioHigh!).toBeGreaterThan(row!.ratio);
});

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
