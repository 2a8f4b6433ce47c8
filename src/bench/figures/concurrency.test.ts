import { expect, test } from "vitest";
import type { RequestRecord } from "../../records/bench.ts";
import { concurrencyOf } from "./concurrency.ts";

/** A request without tokens that was in flight from one time to another. */
const request = (sentMs: number, endMs: number) =>
  ({
    sentMs,
    endMs,
    chunkMs: [],
    coalesced: [],
    chunkTokens: null,
    outputTokens: 0,
    error: null,
  }) as unknown as RequestRecord;

test("the timeline of a stage of any length counts what was in flight in each span", () => {
  // Some of its 600 spans of 1000.0017 ms begin at a time that rounds into the span before.
  const durationMs = 600_001;
  const { mean, timeline, spanMs } = concurrencyOf(
    [request(0, durationMs), request(0, durationMs / 2)],
    durationMs,
  );
  expect(mean).toBeCloseTo(1.5, 9);
  expect(spanMs * timeline.length).toBeCloseTo(durationMs, 6);
  expect(timeline.slice(0, 300).every(({ inFlight }) => Math.abs(inFlight - 2) < 1e-9)).toBe(true);
  expect(timeline.slice(300).every(({ inFlight }) => Math.abs(inFlight - 1) < 1e-9)).toBe(true);
});
