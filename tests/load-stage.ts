import { clientHealth } from "../src/bench/client-watch.ts";
import type { GoodputTarget } from "../src/bench/figures/goodput.ts";
import { loadFigures } from "../src/bench/load-figures.ts";
import type { BenchStage, RequestRecord } from "../src/records/bench.ts";

/** A request that a test makes up or rebuilds from what another tool recorded; times in milliseconds. */
export function madeUpRequest(
  request: Pick<RequestRecord, "index" | "sentMs" | "chunkMs" | "promptTokens" | "outputTokens"> &
    Partial<RequestRecord>,
): RequestRecord {
  const { chunkMs } = request;
  return {
    turn: 0,
    endpoint: 0,
    dueMs: null,
    firstTokenMs: chunkMs[0] ?? null,
    lastTokenMs: chunkMs.at(-1) ?? null,
    endMs: chunkMs.at(-1) ?? request.sentMs,
    askedOutputTokens: request.outputTokens,
    cachedTokens: null,
    coalesced: chunkMs.map(() => false),
    chunkTokens: null,
    finishReason: "length",
    status: 200,
    error: null,
    errorKind: null,
    retryAfterSeconds: null,
    ...request,
  };
}

/** A closed-loop stage of such requests. */
export function stageOf(
  requests: readonly RequestRecord[],
  {
    durationMs,
    concurrency,
    targets = [],
  }: {
    readonly durationMs: number;
    readonly concurrency: number;
    readonly targets?: readonly GoodputTarget[];
  },
): BenchStage {
  const thread = {
    eventLoopDelayP99Ms: 0,
    longestStallMs: 0,
    processCpuSeconds: 0,
    waitSeconds: 0,
    seconds: 1,
  };
  const figures = loadFigures(requests, {
    durationMs,
    client: clientHealth([thread], null, { numUnsent: 0, hasAnswers: true }),
    usersAtOnce: concurrency,
    offered: null,
    targets,
    server: null,
    serverProcess: null,
  });
  return { concurrency, ...figures };
}
