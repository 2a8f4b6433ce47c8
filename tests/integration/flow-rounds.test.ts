// A server that is gone in a later round: what the rounds before it showed is compared all the same.
import { existsSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { silentProgress } from "../../src/base/progress.ts";
import { createEngineLauncher } from "../../src/flow/engines/create-launcher.ts";
import type { FlowPlan, FlowTools, ServedSide } from "../../src/flow/flow-plan.ts";
import { runFlow } from "../../src/flow/run-flow.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { type EndpointLauncher, LaunchError } from "../../src/protocol/endpoint-launcher.ts";
import type { ComparisonRecord } from "../../src/records/comparison.ts";
import { type Simulator, startSimulator } from "../bench-simulator/start-simulator.mjs";
import { makeFolder, removeFolders } from "../e2e/run-cli.ts";

let server: Simulator;

beforeEach(async () => {
  server = await startSimulator({ scripts: [{ numTokens: 4, ttftMs: 2, itlMs: 1 }] });
});

afterEach(() => server.stop());

afterAll(removeFolders);

const { signal } = new AbortController();

/** Two rounds of one address, which is there for the first `numGood` of them; the record is written to `outPath`. */
function runRounds(numGood: number, outPath: string): Promise<ComparisonRecord> {
  let numLaunched = 0;
  const createLauncher = (side: ServedSide): EndpointLauncher => {
    numLaunched += 1;
    const launcher = createEngineLauncher(side, { readyTimeoutMs: 20_000, signal });
    const gone = new LaunchError("unreachable", "Nobody listens there.");
    return numLaunched <= numGood ? launcher : Object.assign(launcher, { ready: () => Promise.reject(gone) });
  };
  const plan = {
    tasks: [],
    modelPath: makeFolder(),
    modelName: "scripted",
    candidates: [],
    dtype: "auto",
    engines: [server.url],
    load: {
      concurrencies: [1],
      atOnce: [],
      rates: [],
      sweep: 0,
      requestsPerSeat: 1,
      minSeconds: 0,
      requestTimeoutMs: 0,
      inputTokens: 8,
      outputTokens: 4,
    },
    numRounds: 2,
    slo: [],
    pricePerHour: null,
    minRecovery: 0.99,
    outPath,
    kernels: "none",
  } as unknown as FlowPlan;
  const checkpoint = { sizeBytes: 1, weightFormat: "F32", config: { vocabSize: 1000 }, close: () => {} };
  const tools = {
    openModel: () => checkpoint as unknown as Checkpoint,
    createLauncher,
    progress: silentProgress,
    signal,
  } as unknown as FlowTools;
  return runFlow(plan, tools);
}

test("one variant that fails after a whole round keeps that round and is told as failed", async () => {
  const outPath = makeFolder();
  const { variants } = await runRounds(1, outPath);
  expect(variants).toMatchObject([
    {
      serving: { numRounds: 1 },
      levels: [{ asked: 1, rounds: [{}] }],
      failure: { kind: "unreachable", message: "Nobody listens there." },
    },
  ]);
  expect(existsSync(path.join(outPath, "comparison.json"))).toBe(true);
});

test("where nothing at all could be served, the flow fails with the first reason", async () => {
  const outPath = makeFolder();
  await expect(runRounds(0, outPath)).rejects.toMatchObject({ fault: "unreachable" });
  expect(existsSync(path.join(outPath, "comparison.json"))).toBe(false);
});
