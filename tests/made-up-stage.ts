import type { BenchStage } from "../src/records/bench.ts";

/** A stage whose figures a test knows: `rate` output tokens per second, distributions around 10 ms. */
export function madeUpStage(concurrency: number, rate: number): BenchStage {
  const distribution = {
    count: 20,
    mean: 10,
    std: 2,
    min: 5,
    p50: 9,
    p90: 12,
    p95: 13,
    p99: 15,
    max: 16,
    weak: ["p90" as const, "p95" as const, "p99" as const],
    intervals: { p50: [8, 11] as [number, number], p90: null, p95: null, p99: null },
  };
  const rates = {
    requestsPerSecond: 8,
    inputTokensPerSecond: 100,
    outputTokensPerSecond: rate,
    totalTokensPerSecond: rate + 100,
  };
  return {
    concurrency,
    numRequests: 8,
    numErrors: 0,
    firstError: null,
    errorsByKind: {},
    numCensored: 0,
    durationMs: 1000,
    promptTokens: 100,
    meanPromptTokens: 12.5,
    outputTokens: rate,
    outputTokensPerSecond: rate,
    totalTokensPerSecond: rate + 100,
    requestsPerSecond: 8,
    throughput: { offered: rates, completed: rates, steady: null },
    ttftMs: distribution,
    itlMs: distribution,
    tpotMs: distribution,
    tokensPerArrival: 1.5,
    tokensPerChunk: null,
    e2eMs: null,
    e2ePerTokenMs: null,
    meanInFlight: concurrency,
    inFlight: {
      mean: concurrency,
      p50: concurrency,
      p90: concurrency,
      max: concurrency,
      timeline: [],
      spanMs: 1000,
    },
    goodput: null,
    warmup: { numRequests: 0, endMs: 0 },
    lengths: { numChecked: 8, numOff: 0 },
    cachedTokens: null,
    server: null,
    serverProcess: null,
    client: { cpuShare: 0.1, eventLoopDelayP99Ms: 1, scheduleDelayMs: null, numUnsent: 0, faults: [] },
    slices: [],
  };
}
