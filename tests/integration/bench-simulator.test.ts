// The load generator against a server that logs what it sent: counts are equal, and times are in order. How close they are
// is measured by tests/perf/client-accuracy.mjs.
import { createHook } from "node:async_hooks";
import { describe, expect, test, vi } from "vitest";
import { streamRequest } from "../../src/client/completion-stream.ts";
import { ConnectionPool } from "../../src/client/connection-pool.ts";
import { SseParser } from "../../src/client/sse-parser.ts";
import { clientError, seenByUs } from "../bench-simulator/client-error.mjs";
import { type Script, startSimulator } from "../bench-simulator/start-simulator.mjs";
import { atOnce, inputTokens, loadSimulator } from "../simulated-load.ts";

const numTokens = 48;
const numRequests = 12;

const countScripts: Readonly<Record<string, Script>> = {
  "one token an event": {},
  "six tokens an event": { tokensPerEvent: [6] },
  "1 to 16 tokens an event": { tokensPerEvent: [1, 16, 3, 7, 2] },
  "events cut inside a character": { text: "é", splitWrites: true, tokensPerEvent: [1, 2] },
  "several events in one write": { eventsPerWrite: 5 },
  "usage in every event": { usage: "continuous", tokensPerEvent: [1, 4] },
  "a stall in mid-answer": { stall: { afterEvents: 9, ms: 120 } },
};

describe("counts", () => {
  test.each(Object.entries(countScripts))("%s: not one token or event more or less", async (_name, more) => {
    const script = { numTokens, ttftMs: 5, itlMs: 1, ...more };
    const { stages, records, log } = await loadSimulator([script], { rates: [atOnce(numRequests)] });
    const [stage] = stages;
    expect(stage).toMatchObject({ numRequests, numErrors: 0, numCensored: 0, errorsByKind: {} });
    expect(stage!.outputTokens).toBe(log.reduce((sum, entry) => sum + entry.outputTokens, 0));
    expect(stage!.promptTokens).toBe(numRequests * inputTokens);
    expect(stage!.lengths).toEqual({ numChecked: numRequests, numOff: 0 });
    const sent = new Map(log.map((entry) => [entry.requestId, entry]));
    for (const record of records) {
      const entry = sent.get(`bench-${record.index}-0`)!;
      expect(record.chunkMs).toHaveLength(entry.sentMs.length);
      expect(record.outputTokens).toBe(entry.outputTokens);
      if (script.usage === "continuous") expect(record.chunkTokens).toEqual(entry.tokens);
    }
  });

  test("mean time per token is the same however many tokens an event has; the chunk gap is not", async () => {
    const spanOf = async (tokensPerEvent: number): Promise<{ tpot: number; gap: number }> => {
      // As long as an answer: events come less often where they hold more.
      const script = {
        numTokens: 65,
        tokensPerEvent: [tokensPerEvent],
        itlMs: 4 * tokensPerEvent,
        ttftMs: 5,
      };
      const { stages, log } = await loadSimulator([script], { rates: [atOnce(4)] });
      const truth = log.map(({ sentMs }) => (sentMs.at(-1)! - sentMs[0]!) / 64);
      const tpot = stages[0]!.tpotMs!.mean / (truth.reduce((sum, each) => sum + each, 0) / truth.length);
      return { tpot, gap: stages[0]!.itlMs!.p50 };
    };
    const [one, sixteen] = [await spanOf(1), await spanOf(16)];
    // Against what was sent, a tenth: a machine that is busy otherwise delays reads, not their sum.
    for (const { tpot } of [one, sixteen]) expect(Math.abs(tpot - 1)).toBeLessThan(0.1);
    expect(sixteen.gap).toBeGreaterThan(4 * one.gap);
  });
});

describe("times", () => {
  test.each([1, 10, 100])("%i streams: no token is seen before the server sent it", async (streams) => {
    const script = { numTokens: 60, ttftMs: 50, itlMs: 10 };
    const { records, log } = await loadSimulator([script], { rates: [atOnce(streams)], numWarmup: 1 });
    const error = clientError(seenByUs(records), log);
    expect(error).toMatchObject({ numRequests: streams, numUnmatched: 0 });
    // The server's time is from when it had read the request to when it wrote the first event: within the client's.
    expect(error.ttftMin).toBeGreaterThan(0);
    for (const { chunkMs, sentMs, endMs } of records) {
      const order = [sentMs, ...chunkMs, endMs];
      expect(order).toEqual(order.toSorted((a, b) => a - b));
    }
  });

  test.for([1, 10])(
    "%i in flight: half of the errors are below a tenth of the time",
    async (users, { annotate }) => {
      const script = { numTokens: 40, ttftMs: 50, itlMs: 10 };
      const { records, log } = await loadSimulator([script], {
        concurrencies: [users],
        minRequests: 4 * users + 5,
      });
      const error = clientError(seenByUs(records), log);
      await annotate(
        `TTFT p50 ${error.ttftP50.toFixed(2)}, p99 ${error.ttftP99.toFixed(2)} ms; ITL p50 ${error.itlP50.toFixed(2)}, p99 ${error.itlP99.toFixed(2)}, σ ${error.itlSigma.toFixed(2)} ms`,
      );
      // Medians: what a busy machine delays are the tails.
      expect(error.ttftP50).toBeLessThan(script.ttftMs / 10);
      expect(error.itlP50).toBeLessThan(script.itlMs / 10);
    },
  );

  test("events of one read have one time, and only the first of them counts as an arrival", async () => {
    const script = { numTokens: 20, ttftMs: 5, itlMs: 20, eventsPerWrite: 5 };
    const { records, stages, log } = await loadSimulator([script], { rates: [atOnce(4)] });
    for (const { chunkMs, coalesced } of records)
      for (const [index, isLater] of coalesced.entries())
        expect(chunkMs[index] === chunkMs[index - 1]).toBe(isLater);
    // A write may be read in parts, and two writes at once; a token alone never arrives by itself.
    expect(stages[0]!.tokensPerArrival).toBeGreaterThan(1);
    expect(log.flatMap(({ tokens }) => tokens)).toHaveLength(80);
  });

  test("a read is stamped in the call that brings it, and nothing is parsed while a load runs", async () => {
    const simulator = await startSimulator({ scripts: [{ numTokens: 60, ttftMs: 20, itlMs: 10 }] });
    const endpoint = { url: simulator.url };
    const pool = new ConnectionPool(0, {});
    const parsing = vi.spyOn(SseParser.prototype, "push");
    const reads = watchReads();
    try {
      const send = () => streamRequest(pool, { endpoint, path: "/v1/completions", body: '{"prompt":[1]}' });
      const outcomes = await Promise.all(Array.from({ length: 50 }, send));
      expect(parsing).not.toHaveBeenCalled();
      const stamps = outcomes.flatMap(({ log }) => log.events().map(({ atMs }) => atMs));
      expect(stamps).toHaveLength(50 * 62);
      const isWithin = (ms: number): boolean => reads.some(([begin, end]) => begin <= ms && ms <= end);
      expect(stamps.filter((ms) => !isWithin(ms))).toEqual([]);
    } finally {
      parsing.mockRestore();
      pool.destroy();
      await simulator.stop();
    }
  });
});

/** When Node's own calls for reads of sockets begin and end, from now on. */
function watchReads(): readonly (readonly [begin: number, end: number])[] {
  const spans: [number, number][] = [];
  const begun = new Map<number, number>();
  const sockets = new Set<number>();
  createHook({
    init: (id, type) => void (type === "TCPWRAP" && sockets.add(id)),
    before: (id) => void (sockets.has(id) && begun.set(id, performance.now())),
    after: (id) => void (sockets.has(id) && spans.push([begun.get(id)!, performance.now()])),
  }).enable();
  return spans;
}

test("three threads share one schedule and one set of prompts", async () => {
  const script = { numTokens: 4, ttftMs: 60, itlMs: 1 };
  const even = Number.POSITIVE_INFINITY;
  const arrivals = { kind: "rate" as const, requestRate: 100, burstiness: even };
  const rates = [{ arrivals, numRequests: 20, maxConcurrency: null }];
  const { stages, records, log } = await loadSimulator([script], {
    concurrencies: [4],
    minRequests: 10,
    rates,
    numThreads: 3,
  });
  const [closed, open] = stages;
  expect(closed).toMatchObject({ numErrors: 0, inFlight: { max: 4 } });
  expect(open).toMatchObject({ numRequests: 20, numErrors: 0, client: { numUnsent: 0 } });
  const due = records
    .flatMap(({ dueMs }) => (dueMs === null ? [] : [Math.round(dueMs)]))
    .sort((a, b) => a - b);
  expect(due).toEqual(Array.from({ length: 20 }, (_, i) => 10 * i));
  for (const { sentMs, dueMs } of records) expect(sentMs).toBeGreaterThanOrEqual(dueMs ?? 0);
  expect(new Set(records.map(({ index }) => index)).size).toBe(log.length);
  expect(new Set(log.map(({ requestId }) => requestId)).size).toBe(log.length);
});

test("a limit below the number of threads holds, and no thread without a user keeps requests", async () => {
  const script = { numTokens: 4, ttftMs: 5, itlMs: 1 };
  const { stages } = await loadSimulator([script], {
    concurrencies: [1],
    minRequests: 8,
    rates: [{ ...atOnce(12), maxConcurrency: 2 }],
    numThreads: 4,
  });
  expect(stages[0]).toMatchObject({ numRequests: 8, inFlight: { max: 1 } });
  expect(stages[1]).toMatchObject({ numRequests: 12, numErrors: 0, inFlight: { max: 2 } });
});

test("a stall of 1.4 s moves the p99 from due and is reported, while the time from the send knows nothing of it", async ({
  annotate,
}) => {
  const stallMs = 1400;
  const script = { numTokens: 2, ttftMs: 2, itlMs: 1, stallAll: { requests: 40, ms: stallMs } };
  const even = Number.POSITIVE_INFINITY;
  const arrivals = { kind: "rate" as const, requestRate: 40, burstiness: even };
  const rates = [{ arrivals, numRequests: 160, maxConcurrency: 1 }];
  const { stages } = await loadSimulator([script], { rates });
  const stalled = stages[0]! as Extract<(typeof stages)[0], { becameClosed: boolean }>;
  const { ttftFromDueMs: fromDue, ttftMs: fromSent } = stalled;
  await annotate(
    `TTFT p90, p99: ${fromDue!.p90.toFixed(0)}, ${fromDue!.p99.toFixed(0)} ms from due, ${fromSent!.p90.toFixed(1)}, ${fromSent!.p99.toFixed(1)} ms from the send`,
  );
  expect(stalled.ttftFromDueMs!.p99).toBeGreaterThan(stallMs / 2);
  expect(stalled.ttftFromDueMs!.max).toBeGreaterThanOrEqual(stallMs);
  // One request of 160 was slow from its send; 56 were due while the server stood still.
  expect(stalled.ttftFromDueMs!.p90).toBeGreaterThan(stallMs / 4);
  expect(stalled.ttftMs!.p90).toBeLessThan(stalled.ttftFromDueMs!.p90 / 2);
  expect(stalled.becameClosed).toBe(true);
});
