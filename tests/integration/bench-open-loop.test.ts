// An open loop against a scripted server that tells when each request reached it.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { silentProgress } from "../../src/base/progress.ts";
import type { RateLoad } from "../../src/bench/open-loop.ts";
import { runSweep } from "../../src/bench/sweep.ts";
import type { RateStage, RequestRecord } from "../../src/records/bench.ts";

const numTokens = 3;

let server: Server | null = null;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = null;
});

interface Script {
  /** Milliseconds until the first token, for request number `arrival`, 0 being the warm-up; null closes the connection. */
  readonly delayMs?: (arrival: number) => number | null;
  /** Answers nobody before so many requests have come after the warm-up. */
  readonly waitsFor?: number;
}

async function listen({ delayMs = () => 0, waitsFor = 0 }: Script): Promise<string> {
  let numArrived = 0;
  const waiting: (() => void)[] = [];
  server = createServer((request, response) => {
    if (request.url === "/v1/models") {
      response.end(JSON.stringify({ data: [{ id: "scripted" }] }));
      return;
    }
    if (request.url === "/metrics") {
      response.writeHead(404).end();
      return;
    }
    const arrival = numArrived++;
    request.resume();
    const answer = (): void => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (let i = 0; i < numTokens; i += 1)
        response.write(`data: ${JSON.stringify({ choices: [{ text: "a", finish_reason: null }] })}\n\n`);
      const usage = { prompt_tokens: 8, completion_tokens: numTokens };
      response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
    };
    const delay = delayMs(arrival);
    if (delay === null) request.socket.destroy();
    else if (arrival === 0 || waitsFor === 0) setTimeout(answer, delay);
    else if (waiting.push(answer) === waitsFor) for (const go of waiting) go();
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function run(
  url: string,
  load: RateLoad,
  onStage: (stage: RateStage) => void = () => {},
): Promise<{ readonly stage: RateStage; readonly records: readonly RequestRecord[] }> {
  let kept: readonly RequestRecord[] = [];
  const { stages, rates } = await runSweep({
    endpoint: { url },
    model: null,
    concurrencies: [],
    rates: [load],
    requestsPerSeat: 1,
    minRequests: 1,
    minSeconds: 0,
    inputTokens: 8,
    outputTokens: numTokens,
    numWarmup: 1,
    seed: 1,
    vocabSize: 1000,
    progress: silentProgress,
    onStage: (stage, records) => {
      kept = records;
      onStage(stage as RateStage);
    },
  });
  expect(stages).toEqual([]);
  return { stage: rates[0]!, records: kept.toSorted((a, b) => a.index - b.index) };
}

const even = Number.POSITIVE_INFINITY;

test("requests leave when they are due and not earlier, though nobody is answered before the last has come", async () => {
  const url = await listen({ waitsFor: 10 });
  const load = {
    arrivals: { kind: "rate" as const, requestRate: 50, burstiness: even },
    numRequests: 10,
    maxConcurrency: null,
  };
  const { stage, records } = await run(url, load);
  expect(records.map(({ dueMs }) => dueMs)).toEqual([0, 20, 40, 60, 80, 100, 120, 140, 160, 180]);
  for (const { sentMs, dueMs } of records) expect(sentMs).toBeGreaterThanOrEqual(dueMs!);
  expect(stage).toMatchObject({ requestRate: 50, burstiness: "inf", numErrors: 0, becameClosed: false });
  expect(stage.client.numUnsent).toBe(0);
  // Little's law, from the records alone.
  const inFlight = records.reduce((sum, { sentMs, endMs }) => sum + endMs - sentMs, 0) / stage.durationMs;
  expect(stage.meanInFlight).toBeCloseTo(inFlight, 9);
});

test("a stall of the server counts for everyone who came meanwhile, also where a limit held them back", async () => {
  const stallMs = 1400;
  const url = await listen({ delayMs: (arrival) => (arrival === 1 ? stallMs : 0) });
  const load = {
    arrivals: { kind: "rate" as const, requestRate: 20, burstiness: even },
    numRequests: 20,
    maxConcurrency: 1,
  };
  const { stage } = await run(url, load);
  expect(stage.becameClosed).toBe(true);
  // From the send only one request was slow; from when they were due, half of them waited for more than 700 ms.
  expect(stage.ttftMs!.p50).toBeLessThan(700);
  expect(stage.ttftFromDueMs!.p50).toBeGreaterThan(700);
  expect(stage.ttftFromDueMs!.max).toBeGreaterThanOrEqual(stallMs);
});

test("a client that is asked for more than it can send calls its row invalid", async ({ annotate }) => {
  const url = await listen({});
  // 20 ms for 2,000 requests are 10 µs for each.
  const load = {
    arrivals: { kind: "rate" as const, requestRate: 100_000, burstiness: even },
    numRequests: 2000,
    maxConcurrency: null,
  };
  const { stage } = await run(url, load);
  await annotate(stage.client.faults.join());
  expect(stage.client.faults.join()).toMatch(/requests left \d+ ms late/);
});

test("all at once leave together", async () => {
  const url = await listen({ waitsFor: 12 });
  const arrivals = { kind: "rate" as const, requestRate: Number.POSITIVE_INFINITY, burstiness: 1 };
  const { stage, records } = await run(url, { arrivals, numRequests: 12, maxConcurrency: null });
  expect(stage.requestRate).toBe("inf");
  expect(records.every(({ dueMs }) => dueMs === 0)).toBe(true);
});

test("what a lost server leaves unsent is counted, and the row does not count", async () => {
  const url = await listen({ delayMs: (arrival) => (arrival === 0 ? 0 : null) });
  const load = {
    arrivals: { kind: "rate" as const, requestRate: Number.POSITIVE_INFINITY, burstiness: 1 },
    numRequests: 20,
    maxConcurrency: 1,
  };
  let stage: RateStage | null = null;
  const failing = run(url, load, (kept) => (stage = kept));
  await expect(failing).rejects.toMatchObject({ code: "endpoint_failed" });
  expect(stage).toMatchObject({ numRequests: 8, numErrors: 8, client: { numUnsent: 12 } });
  expect(stage!.client.faults.join()).toContain("12 requests were due and not sent");
});
