import v8 from "node:v8";
import vm from "node:vm";
import { expect, test } from "vitest";
import type { EngineLoop } from "../../src/engine/engine-loop.ts";
import { defaultEngineOptions } from "../../src/engine/engine-options.ts";
import { loadEngine } from "../../src/engine/load-engine.ts";
import { startContextEngine } from "../context-engine.ts";
import { pebble } from "./law-settings.ts";
import { Storm, turns } from "./storm.ts";

// Thousands of requests that end in every way there is, against memory for a few: afterwards nothing is left of them.

const seed = Number(process.env["MILLRACE_LAW_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

v8.setFlagsFromString("--expose-gc");
const collectGarbage = vm.runInNewContext("gc") as () => void;

async function usedBytes(): Promise<number> {
  for (let round = 0; round < 3; round += 1) {
    await turns(3);
    collectGarbage();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** What a process holds besides memory, once timers that are about to fire have done so. */
async function heldThings(): Promise<unknown> {
  await new Promise((resolve) => setTimeout(resolve, 300));
  const listeners = process.eventNames().map((name) => [String(name), process.listenerCount(name)]);
  return { resources: process.getActiveResourcesInfo().sort(), listeners };
}

/** Everything that a request could leave behind. */
function expectNothingLeft({ engine, open, counts }: Storm): void {
  engine.checkInvariants();
  expect(open.numOpen).toBe(0);
  expect(open.queuedBytes).toBe(0);
  const stats = engine.counters.read();
  expect(stats).toMatchObject({ numRunning: 0, numWaiting: 0, numSwapped: 0 });
  expect(stats.numFreeBlocks).toBe(stats.numTotalBlocks);
  expect(counts.numWrongEnds, "requests without exactly one end").toBe(0);
  expect(counts.numStopped).toBe(stats.numFinished);
  expect(counts.numAborted).toBe(stats.numAborted);
  expect(counts.numFailed).toBe(stats.numRefused + stats.numExpired + stats.numFailed);
  expect(counts.numStopped + counts.numAborted + counts.numFailed).toBe(counts.numSent);
}

async function survives(engine: EngineLoop, warmUp: number, count: number): Promise<Storm> {
  process.stdout.write(`MILLRACE_LAW_SEED=${seed}\n`);
  const storm = new Storm(engine, seed);
  await storm.run(warmUp);
  const before = await usedBytes();
  const held = await heldThings();
  await storm.run(count);
  const after = await usedBytes();
  expectNothingLeft(storm);
  expect(await heldThings()).toEqual(held);
  process.stdout.write(`${storm.counts.numSent} requests, ${before} bytes before, ${after} after\n`);
  expect(after, "bytes in use after the storm").toBeLessThan(before * 1.05);
  return storm;
}

test("a storm of 5000 requests on little memory leaves nothing behind", async () => {
  const { engine, context } = startContextEngine({
    numBlocks: 18,
    maxNumSeqs: 6,
    maxNumBatchedTokens: 24,
    admission: { maxNumQueuedRequests: 100 },
    speculation: "ngram",
  });
  let numForwards = 0;
  context.onForward = () => {
    numForwards += 1;
    if (numForwards % 40 === 0) context.poison.add(14);
    else context.poison.delete(14);
    if (numForwards % 500 === 0) throw new Error("the backend fails now and then");
  };
  const { counts } = await survives(engine, 1500, 5000);
  const stats = engine.counters.read();
  expect(stats.numPreemptions).toBeGreaterThan(50);
  expect(stats.prefixCacheHits).toBeGreaterThan(0);
  expect(stats.numAcceptedTokens).toBeGreaterThan(0);
  const { numLeft, numSlow, numScored, numDuplicates, numAborted } = counts;
  for (const count of [numLeft, numSlow, numScored, numDuplicates, numAborted])
    expect(count).toBeGreaterThan(200);
  expect([...counts.codes.keys()]).toEqual(
    expect.arrayContaining([
      "invalid_request",
      "context_length_exceeded",
      "deadline_exceeded",
      "engine_failed",
      "engine_overloaded",
      "model_not_finite",
    ]),
  );
});

test("a smaller storm on real kernels, with swaps and a draft, leaves nothing behind", async () => {
  const engine = await loadEngine({
    ...defaultEngineOptions(pebble.path),
    maxModelLen: 96,
    maxNumSeqs: 8,
    maxNumBatchedTokens: 64,
    blockSize: 16,
    numKvBlocks: 7,
    swapSpaceBytes: 2 ** 20,
    maxNumQueuedRequests: 250,
    speculation: { numTokens: 3, draftPath: pebble.draftPath },
    seed: 1,
  });
  try {
    const { counts } = await survives(engine, 200, 600);
    const stats = engine.counters.read();
    expect(stats.numPreemptions).toBeGreaterThan(10);
    expect(stats.numSwappedBlocks).toBeGreaterThan(0);
    expect(stats.prefixCacheHits).toBeGreaterThan(0);
    expect(counts.numAborted).toBeGreaterThan(20);
  } finally {
    await engine.close();
  }
});
