import { afterEach, expect, test, vi } from "vitest";
import { madeUpRequest } from "../../tests/load-stage.ts";
import { runClosedStage } from "./closed-loop.ts";
import { runRateStage } from "./open-loop.ts";
import { ServerWatch } from "./server-watch.ts";

afterEach(() => {
  vi.useRealTimers();
});

test("a load that is stopped leaves no timer that keeps the process alive", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const stopped = new Error("stopped");
  const stage = runClosedStage(
    { concurrency: 1, numRequests: 1, minSeconds: 0 },
    {
      client: { numThreads: 1, run: () => Promise.reject(stopped) },
      firstIndex: 0,
      maxSeconds: null,
      targets: [],
      watchServer: () => Promise.resolve(new ServerWatch([{ url: "http://127.0.0.1:9" }], true, null)),
    },
  );
  await expect(stage).rejects.toBe(stopped);
  expect(vi.getTimerCount()).toBe(0);
});

const health = {
  eventLoopDelayP99Ms: 0,
  longestStallMs: 0,
  processCpuSeconds: 0,
  waitSeconds: 0,
  seconds: 4,
};

/** A stage of 20 requests a second, of which so many were sent and answered within 50 ms. */
async function evenStage(numBegun: number, more: { numRequests: number; maxSeconds: number | null }) {
  const records = Array.from({ length: numBegun }, (_, index) =>
    madeUpRequest({
      index,
      sentMs: 50 * index,
      chunkMs: [50 * index + 40],
      promptTokens: 1,
      outputTokens: 1,
    }),
  );
  const outcome = { records, numBegun, numUnsent: 0, becameClosed: false, delaysMs: [0], health };
  const { stage } = await runRateStage(
    {
      arrivals: { kind: "rate", requestRate: 20, burstiness: Number.POSITIVE_INFINITY },
      numRequests: more.numRequests,
      maxConcurrency: null,
    },
    1,
    {
      client: { numThreads: 1, run: () => Promise.resolve([outcome]) },
      firstIndex: 0,
      maxSeconds: more.maxSeconds,
      targets: [],
      watchServer: () => Promise.resolve(new ServerWatch([{ url: "http://127.0.0.1:9" }], true, null)),
    },
  );
  return stage;
}

test("a schedule that was cut lasted until the cut and was offered as fast as it was due", async () => {
  const cut = await evenStage(80, { numRequests: 1000, maxSeconds: 4 });
  expect(cut.durationMs).toBe(4000);
  expect(cut.throughput.offered.requestsPerSecond).toBeCloseTo(20, 0);
  // Twenty of those that were due were held back.
  const behind = await evenStage(60, { numRequests: 1000, maxSeconds: 4 });
  expect(behind.throughput.offered.requestsPerSecond).toBeCloseTo(20, 0);
  expect(behind.throughput.completed.requestsPerSecond).toBeCloseTo(15, 9);
});

test("a schedule that ended before its cut lasted until its last answer", async () => {
  const whole = await evenStage(40, { numRequests: 40, maxSeconds: 60 });
  expect(whole.durationMs).toBeLessThan(2100);
  expect(whole.throughput.offered.requestsPerSecond).toBeCloseTo(20, 9);
});
