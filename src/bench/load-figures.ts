import type { RequestRecord } from "../records/bench.ts";
import type { ClientHealth, LoadFigures, ServerFigures, ServerProcess } from "../records/load-figures.ts";
import { summarise } from "./distribution.ts";
import { concurrencyOf } from "./figures/concurrency.ts";
import { type GoodputTarget, goodputOf } from "./figures/goodput.ts";
import { throughputOf } from "./figures/throughput.ts";
import { warmupOf } from "./figures/warmup.ts";
import { e2eOf, sliceStage, tokensOf, tpotOf, ttftOf } from "./slices.ts";

/** What a stage knows beside its records. */
export interface StageContext {
  readonly durationMs: number;
  readonly client: ClientHealth;
  /** Requests that rise and fall together; null: as many as were in flight on average. */
  readonly usersAtOnce: number | null;
  /** Over how long requests were due, and how many of them were not sent; null where answers decided. */
  readonly offered: { readonly ms: number; readonly numUnsent: number } | null;
  /** What a request has to meet to count as goodput; none for no goodput. */
  readonly targets: readonly GoodputTarget[];
  readonly server: ServerFigures | null;
  readonly serverProcess: ServerProcess | null;
}

/** Figures of a stage from its records. The window is the whole stage, ramp and drain included. */
export function loadFigures(records: readonly RequestRecord[], context: StageContext): LoadFigures {
  const { durationMs, client, usersAtOnce, offered, targets, server, serverProcess } = context;
  const good = records.filter((record) => record.error === null);
  const failed = records.filter(({ errorKind }) => errorKind !== null && errorKind !== "censored");
  const counted = good.flatMap((record) => record.promptTokens ?? []);
  const promptTokens = sum(counted);
  const outputTokens = sum(good.map(tokensOf));
  const arrivals = sum(good.map(numArrivals));
  const throughput = throughputOf(records, {
    durationMs,
    offeredMs: offered?.ms ?? null,
    numUnsent: offered?.numUnsent ?? 0,
  });
  const inFlight = concurrencyOf(records, durationMs);
  const { completed } = throughput;
  const together = usersAtOnce ?? Math.max(1, Math.round(inFlight.mean));
  return {
    numRequests: records.length,
    numErrors: failed.length,
    firstError: failed[0]?.error ?? null,
    errorsByKind: countKinds(failed),
    numCensored: records.filter(({ errorKind }) => errorKind === "censored").length,
    durationMs,
    promptTokens,
    meanPromptTokens: counted.length === 0 ? null : promptTokens / counted.length,
    outputTokens,
    outputTokensPerSecond: completed.outputTokensPerSecond,
    totalTokensPerSecond: completed.totalTokensPerSecond,
    requestsPerSecond: completed.requestsPerSecond,
    throughput,
    ttftMs: summarise(good.map(ttftOf)),
    tpotMs: summarise(good.map(tpotOf).filter((value) => value !== null)),
    itlMs: summarise(good.flatMap(gapsOf)),
    tokensPerArrival: arrivals === 0 || outputTokens === 0 ? null : outputTokens / arrivals,
    tokensPerChunk: summarise(good.flatMap(({ chunkTokens }) => chunkTokens ?? [])),
    e2eMs: summarise(good.map(e2eOf)),
    e2ePerTokenMs: summarise(good.map((record) => e2eOf(record) / Math.max(1, tokensOf(record)))),
    meanInFlight: inFlight.mean,
    inFlight,
    goodput: targets.length === 0 ? null : goodputOf(records, targets, durationMs),
    warmup: warmupOf(good, together),
    lengths: lengthsOf(good),
    cachedTokens: cachedTokensOf(good),
    server,
    serverProcess,
    client,
    slices: sliceStage(together, good),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function countKinds(failed: readonly RequestRecord[]): LoadFigures["errorsByKind"] {
  const counts: LoadFigures["errorsByKind"] = {};
  for (const { errorKind } of failed) counts[errorKind!] = (counts[errorKind!] ?? 0) + 1;
  return counts;
}

function lengthsOf(good: readonly RequestRecord[]): LoadFigures["lengths"] {
  const checked = good.filter(({ askedOutputTokens }) => askedOutputTokens !== null);
  const off = checked.filter((record) => tokensOf(record) !== record.askedOutputTokens);
  return { numChecked: checked.length, numOff: off.length };
}

function cachedTokensOf(good: readonly RequestRecord[]): number | null {
  const told = good.flatMap(({ cachedTokens }) => cachedTokens ?? []);
  return told.length === 0 ? null : sum(told);
}

/** Reads that brought tokens; one may bring several events, and an event several tokens. */
function numArrivals({ coalesced }: RequestRecord): number {
  return coalesced.filter((isLater) => !isLater).length;
}

function gapsOf(record: RequestRecord): number[] {
  const gaps: number[] = [];
  for (let index = 1; index < record.chunkMs.length; index += 1) {
    if (!record.coalesced[index]) gaps.push(record.chunkMs[index]! - record.chunkMs[index - 1]!);
  }
  return gaps;
}
