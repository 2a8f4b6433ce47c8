import type * as WorkerThreads from "node:worker_threads";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { writeRandomModel } from "../../tests/random-model.ts";
import type { EngineClient, RequestScheduling } from "../protocol/engine-client.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";
import { defaultEngineOptions, type EngineOptions } from "./engine-options.ts";
import { startEngineWorker } from "./worker-client.ts";

/** Every thread that was started, so that a test can kill one. */
const threads: WorkerThreads.Worker[] = [];
vi.mock("node:worker_threads", async (original) => {
  const module = await original<typeof WorkerThreads>();
  class RecordedWorker extends module.Worker {
    constructor(...args: ConstructorParameters<typeof module.Worker>) {
      super(...args);
      threads.push(this);
    }
  }
  return { ...module, Worker: RecordedWorker };
});

const model = writeRandomModel();

const options: EngineOptions = {
  ...defaultEngineOptions(model.path),
  maxModelLen: 256,
  maxNumSeqs: 16,
  maxNumBatchedTokens: 128,
  numKvBlocks: 40,
};

let client: EngineClient;

beforeAll(async () => {
  client = await startEngineWorker(options);
});

afterAll(async () => {
  await client.close();
  model.remove();
});

const prompt = (length: number): number[] => Array.from({ length }, (_, j) => 5 + ((j * 37) % 300));

test("says what is served", () => {
  expect(client.info).toMatchObject({
    architecture: "LlamaForCausalLM",
    maxModelLen: 256,
    numTotalBlocks: 40,
  });
  expect(client.info.eosTokenIds).toEqual([2, 0]);
  expect(client.info.loadTimesMs["total"]).toBeGreaterThan(0);
});

test("a refused request rejects with its code, its field and its message", async () => {
  const request = {
    requestId: "long",
    promptTokenIds: prompt(250),
    sampling: { ...defaultSampling, maxTokens: 10 },
  };
  await expect(async () => {
    for await (const _ of client.generate(request));
  }).rejects.toMatchObject({ code: "context_length_exceeded", param: "max_tokens" });
});

test("after 200 mixed requests with a third aborted everything has come back", async () => {
  const before = await client.stats();
  const work = Array.from({ length: 200 }, async (_, index): Promise<void> => {
    const promptTokenIds = prompt(1 + (index % 40));
    if (index % 5 === 4) {
      await client.score({ tokenIds: promptTokenIds, start: 1, topK: index % 3 });
      return;
    }
    const sampling = { ...defaultSampling, maxTokens: 1 + (index % 9), ignoreEos: true };
    const requestId = `storm-${index}`;
    let numOutputs = 0;
    for await (const _output of client.generate({ requestId, promptTokenIds, sampling })) {
      numOutputs += 1;
      if (index % 3 === 0 && index % 2 === 0) break;
      if (index % 3 === 0 && numOutputs === 2) client.abort(requestId);
    }
  });
  await Promise.all(work);
  while ((await client.stats()).numRunning > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const after = await client.stats();
  expect(after).toMatchObject({ numRunning: 0, numWaiting: 0, numFreeBlocks: 40 });
  expect(after.numFinished + after.numAborted - before.numFinished - before.numAborted).toBe(200);
});

test("hands on scheduling, traces, recent steps and a reset of the prefix cache", async () => {
  const sampling = { ...defaultSampling, maxTokens: 2, ignoreEos: true };
  const run = async (requestId: string, scheduling: RequestScheduling) => {
    const outputs = [];
    const request = { requestId, promptTokenIds: prompt(70), sampling, scheduling, explain: true };
    for await (const output of client.generate(request)) outputs.push(output);
    return outputs.at(-1)!;
  };
  await expect(run("urgent", { priority: 5 })).rejects.toMatchObject({ param: "priority" });
  const scored = { tokenIds: [5, 6], start: 1, topK: 0, scheduling: { cacheSalt: "" } };
  await expect(client.score(scored)).rejects.toMatchObject({ param: "cache_salt" });
  client.resetPrefixCache();
  expect((await run("cold", {})).trace).toMatchObject({ numCachedTokens: 0, endedBy: "max_tokens" });
  expect((await run("warm", {})).trace).toMatchObject({ numCachedTokens: 69 });
  expect((await run("salted", { cacheSalt: "s" })).trace).toMatchObject({ numCachedTokens: 0 });
  client.resetPrefixCache();
  expect((await run("reset", {})).trace).toMatchObject({ numCachedTokens: 0 });
  const names = (await client.recentSteps()).flatMap(({ joined }) => joined);
  expect(names.slice(-4)).toEqual(["cold", "warm", "salted", "reset"]);
  const ended = await client.recentRequests();
  expect(ended.slice(-4).map(({ requestId, endedBy }) => `${requestId} ${endedBy}`)).toEqual(
    ["cold", "warm", "salted", "reset"].map((name) => `${name} max_tokens`),
  );
});

test("a signal ends a score on the other side", async () => {
  const before = await client.stats();
  const leaving = new AbortController();
  const score = client.score({ tokenIds: prompt(200), start: 1, topK: 0 }, leaving.signal);
  leaving.abort();
  await expect(score).rejects.toMatchObject({ name: "AbortError" });
  await client.score({ tokenIds: prompt(2), start: 1, topK: 0 });
  const { numAborted, numFinished, numRunning } = await client.stats();
  expect(numAborted + numFinished - before.numAborted - before.numFinished).toBe(2);
  expect(numRunning).toBe(0);
});

test("a load that fails rejects with the load's own error", async () => {
  await expect(startEngineWorker({ ...options, modelPath: "/nowhere" })).rejects.toMatchObject({
    code: "file_not_found",
  });
  await expect(startEngineWorker({ ...options, maxModelLen: 4096 })).rejects.toMatchObject({
    code: "invalid_option",
  });
});

test("closing aborts what is open, and later requests are refused", async () => {
  const other = await startEngineWorker(options);
  const sampling = { ...defaultSampling, maxTokens: 200, ignoreEos: true };
  const reasons: unknown[] = [];
  for await (const output of other.generate({ requestId: "open", promptTokenIds: prompt(3), sampling })) {
    reasons.push(output.finishReason);
    if (reasons.length === 1) void other.close();
  }
  expect(reasons.at(-1)).toBe("abort");
  await other.close();
  await expect(other.score({ tokenIds: [1, 2], start: 1, topK: 0 })).rejects.toMatchObject({
    code: "engine_closed",
  });
});

test("the thread's death rejects what is open and what comes later, and touches no other engine", async () => {
  const other = await startEngineWorker(options);
  const sampling = { ...defaultSampling, maxTokens: 200, ignoreEos: true };
  let isKilled = false;
  const run = async (requestId: string): Promise<void> => {
    for await (const _ of other.generate({ requestId, promptTokenIds: prompt(3), sampling })) {
      if (!isKilled) void threads.at(-1)!.terminate();
      isKilled = true;
    }
  };
  const ends = await Promise.allSettled([run("one"), run("two")]);
  const died = { code: "engine_failed", message: expect.stringContaining("thread died") };
  expect(ends).toMatchObject([
    { status: "rejected", reason: died },
    { status: "rejected", reason: died },
  ]);
  await expect(other.score({ tokenIds: [1, 2], start: 1, topK: 0 })).rejects.toMatchObject(died);
  // So that who asks for its health hears of it.
  await expect(other.stats()).rejects.toMatchObject(died);
  await other.close();
  expect((await client.score({ tokenIds: [5, 6], start: 1, topK: 0 })).logprobs.length).toBe(1);
});
