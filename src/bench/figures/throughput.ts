import type { RequestRecord } from "../../records/bench.ts";
import type { LoadFigures, Rates } from "../../records/load-figures.ts";
import { chunkTokensOf, tokensOf } from "../slices.ts";
import { inFlightOf } from "./concurrency.ts";

/** Share of the highest number in flight from which on the load is at its height. */
const steadyShare = 0.95;
/** A height shorter than this says nothing. */
const minSteadyMs = 1000;
const minSteadyShare = 0.1;

export interface ThroughputWindow {
  readonly durationMs: number;
  /** Over which requests were due; null where answers decided. */
  readonly offeredMs: number | null;
  /** Due and not sent. */
  readonly numUnsent: number;
}

/** Throughput by its three meanings; see the record. */
export function throughputOf(
  records: readonly RequestRecord[],
  { durationMs, offeredMs, numUnsent }: ThroughputWindow,
): LoadFigures["throughput"] {
  const good = records.filter((record) => record.error === null);
  const sent = sumOf(records, (record) => record.askedOutputTokens ?? tokensOf(record));
  // What was not sent would have been like the rest.
  const share = records.length === 0 ? 1 : (records.length + numUnsent) / records.length;
  const due = {
    requests: records.length + numUnsent,
    input: sent.input * share,
    output: sent.output * share,
  };
  return {
    // All at once is offered in no time; how long it took is then the only span there is.
    offered: ratesOf(due, offeredMs || durationMs),
    completed: ratesOf(sumOf(good, tokensOf), durationMs),
    steady: steadyOf(records, durationMs),
  };
}

interface Sums {
  readonly requests: number;
  readonly input: number;
  readonly output: number;
}

function sumOf(records: readonly RequestRecord[], outputOf: (record: RequestRecord) => number): Sums {
  return {
    requests: records.length,
    input: records.reduce((sum, { promptTokens }) => sum + (promptTokens ?? 0), 0),
    output: records.reduce((sum, record) => sum + outputOf(record), 0),
  };
}

function ratesOf({ requests, input, output }: Sums, milliseconds: number): Rates {
  const seconds = milliseconds / 1000;
  const [inputTokensPerSecond, outputTokensPerSecond] = [input / seconds, output / seconds];
  return {
    requestsPerSecond: requests / seconds,
    inputTokensPerSecond,
    outputTokensPerSecond,
    totalTokensPerSecond: inputTokensPerSecond + outputTokensPerSecond,
  };
}

function steadyOf(
  records: readonly RequestRecord[],
  durationMs: number,
): LoadFigures["throughput"]["steady"] {
  const { atMs, count } = inFlightOf(records);
  const height = steadyShare * count.reduce((most, now) => Math.max(most, now), 0);
  const first = count.findIndex((now) => now >= height);
  const last = count.findLastIndex((now) => now >= height);
  if (first === -1) return null;
  const [startMs, endMs] = [atMs[first]!, atMs[last + 1] ?? durationMs];
  if (endMs - startMs < Math.max(minSteadyMs, minSteadyShare * durationMs)) return null;
  const isIn = (ms: number | null): boolean => ms !== null && ms > startMs && ms <= endMs;
  const sums = {
    requests: records.filter((record) => record.error === null && isIn(record.endMs)).length,
    input: sumOf(
      records.filter((record) => isIn(record.firstTokenMs)),
      tokensOf,
    ).input,
    output: records.reduce(
      (sum, record) =>
        sum + chunkTokensOf(record).reduce((own, n, i) => own + (isIn(record.chunkMs[i]!) ? n : 0), 0),
      0,
    ),
  };
  return { ...ratesOf(sums, endMs - startMs), startMs, endMs };
}
