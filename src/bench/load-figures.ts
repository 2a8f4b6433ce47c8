import type { ClientHealth, LoadFigures, RequestRecord } from "../records/bench.ts";
import { summarise } from "./distribution.ts";
import { e2eOf, sliceStage, tokensOf, tpotOf, ttftOf } from "./slices.ts";

/**
 * Figures of a stage from its records. The window is the whole stage, ramp and drain included.
 *
 * @param usersAtOnce requests that rise and fall together; null: as many as were in flight on average
 */
export function loadFigures(
  records: readonly RequestRecord[],
  durationMs: number,
  client: ClientHealth,
  usersAtOnce: number | null,
): LoadFigures {
  const good = records.filter((record) => record.error === null);
  const outputTokens = good.reduce((sum, record) => sum + tokensOf(record), 0);
  const counted = good.flatMap((record) => record.promptTokens ?? []);
  const promptTokens = counted.reduce((sum, count) => sum + count, 0);
  const seconds = durationMs / 1000;
  const meanInFlight = records.reduce((sum, record) => sum + e2eOf(record), 0) / durationMs;
  return {
    numRequests: records.length,
    numErrors: records.length - good.length,
    firstError: records.find((record) => record.error !== null)?.error ?? null,
    durationMs,
    promptTokens,
    meanPromptTokens: counted.length === 0 ? null : promptTokens / counted.length,
    outputTokens,
    outputTokensPerSecond: outputTokens / seconds,
    totalTokensPerSecond: (outputTokens + promptTokens) / seconds,
    requestsPerSecond: good.length / seconds,
    ttftMs: summarise(good.map(ttftOf)),
    tpotMs: summarise(good.map(tpotOf).filter((value) => value !== null)),
    itlMs: summarise(good.flatMap(gapsOf)),
    tokensPerArrival: outputTokens === 0 ? null : outputTokens / numArrivals(good),
    e2eMs: summarise(good.map(e2eOf)),
    meanInFlight,
    client,
    slices: sliceStage(usersAtOnce ?? Math.max(1, Math.round(meanInFlight)), good),
  };
}

/** Reads that brought tokens; one may bring several events, and an event several tokens. */
function numArrivals(records: readonly RequestRecord[]): number {
  return records.reduce((sum, { coalesced }) => sum + coalesced.filter((isLater) => !isLater).length, 0);
}

function gapsOf(record: RequestRecord): number[] {
  const gaps: number[] = [];
  for (let index = 1; index < record.chunkMs.length; index += 1) {
    if (!record.coalesced[index]) gaps.push(record.chunkMs[index]! - record.chunkMs[index - 1]!);
  }
  return gaps;
}
