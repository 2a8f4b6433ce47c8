// Several servers of one model that share a load.
import { afterEach, expect, test } from "vitest";
import { runSweep } from "../../src/bench/sweep.ts";
import { startSimulator } from "../bench-simulator/start-simulator.mjs";
import { loadOptions } from "../simulated-load.ts";

type Simulator = Awaited<ReturnType<typeof startSimulator>>;

let simulator: Simulator | null = null;

afterEach(async () => {
  await simulator?.stop();
  simulator = null;
});

async function serve(): Promise<{ readonly url: string }> {
  simulator = await startSimulator({ scripts: [{ numTokens: 4, ttftMs: 2, itlMs: 1 }] });
  return { url: simulator.url };
}

test("every server is asked in the warm-up, however short it is", async () => {
  const live = await serve();
  const load = runSweep({
    ...loadOptions(live.url),
    moreEndpoints: [live, { url: "http://127.0.0.1:9" }],
    model: "m",
    concurrencies: [1],
    numWarmup: 2,
  });
  await expect(load).rejects.toThrow(/warm-up request to http:\/\/127\.0\.0\.1:9 failed/);
});

test.skipIf(process.platform !== "linux")(
  "the process of one server is watched, that of one among several not",
  async () => {
    const live = await serve();
    const options = { ...loadOptions(live.url), model: "m", concurrencies: [1], numWarmup: 1 };
    const alone = await runSweep(options);
    expect(alone.stages[0]!.serverProcess).not.toBeNull();
    const shared = await runSweep({ ...options, moreEndpoints: [live] });
    expect(shared.stages[0]!.serverProcess).toBeNull();
    expect(shared.workload.numWarmup).toBe(2);
  },
);
