// A server that is killed between two loads has not missed a target, nor lost against another.
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentProgress } from "../../src/base/progress.ts";
import { runSloSearch } from "../../src/bench/slo/run-slo-search.ts";
import { runVersus } from "../../src/bench/versus/run-versus.ts";
import { parseSlo } from "../../src/records/slo.ts";
import { type Simulator, startSimulator } from "../bench-simulator/start-simulator.mjs";
import { loadOptions } from "../simulated-load.ts";

// Slow enough that the client has time to spare: a stage that it held up does not count.
const script = { numTokens: 4, ttftMs: 40, itlMs: 20 };
const lost = {
  code: "endpoint_failed",
  message: expect.stringContaining("does not answer any more") as string,
};
let first: Simulator;
let second: Simulator;

beforeEach(async () => {
  [first, second] = await Promise.all([
    startSimulator({ scripts: [script] }),
    startSimulator({ scripts: [script] }),
  ]);
});

afterEach(async () => {
  await Promise.all([first.stop(), second.stop()]);
});

test("a search for a service level says that its server is gone", async () => {
  const verdicts: string[] = [];
  const search = runSloSearch({
    ...loadOptions(first.url),
    progress: {
      ...silentProgress,
      finish: (message = "") => {
        verdicts.push(message);
        if (message.startsWith("1 in flight")) process.kill(first.pid, "SIGKILL");
      },
    },
    slo: parseSlo("ttft_p50<=5s"),
    variable: "concurrency",
    from: 1,
    to: 8,
    tolerance: 0.1,
    maxProbes: 8,
    requestsPerSeat: 1,
    minSeconds: 0,
    burstiness: 1,
  });
  await expect(search).rejects.toMatchObject(lost);
  expect(verdicts).toHaveLength(1);
});

test("a comparison of two says which one is gone", async () => {
  const plan = { concurrency: 1, numRequests: 4, minSeconds: 0 };
  const versus = runVersus({
    a: loadOptions(first.url),
    b: loadOptions(second.url),
    load: { kind: "closed", plan },
    firstRounds: 4,
    maxRounds: 4,
    margin: 0.02,
    effect: 0.05,
    progress: { ...silentProgress, update: (done) => done === 1 && process.kill(second.pid, "SIGKILL") },
  });
  await expect(versus).rejects.toMatchObject(lost);
  await expect(versus).rejects.toThrow(second.url);
});
