import { expect, onTestFinished, test, vi } from "vitest";
import { answerContent } from "../../tests/answer-content.ts";
import {
  eos,
  generate,
  greedy,
  idsOf,
  prompts,
  startContextEngine,
  vocabSize,
} from "../../tests/context-engine.ts";
import { contextLogits, logSoftmax } from "../../tests/context-model.ts";
import type { MillraceError } from "../base/errors.ts";
import type { EngineClient, EngineOutput } from "../protocol/engine-client.ts";
import { defaultSampling, type SamplingParams } from "../protocol/sampling-params.ts";
import type { EngineLoop } from "./engine-loop.ts";
import { IntegrityCheck } from "./integrity-check.ts";
import { Scheduler } from "./scheduler.ts";

test("draws what the model says, alone and in a batch, under every chunk size", async () => {
  const expected = prompts.map((prompt) => greedy(prompt, 10));
  for (const maxNumBatchedTokens of [8, 9, 13, 64]) {
    for (const longPrefillTokenThreshold of [0, 1, 3]) {
      const { client, engine } = startContextEngine({
        maxNumBatchedTokens,
        longPrefillTokenThreshold,
        numBlocks: 128,
      });
      expect(idsOf(await generate(client, prompts[3]!, { maxTokens: 10 }))).toEqual(expected[3]);
      const together = await Promise.all(
        prompts.map((prompt) => generate(client, prompt, { maxTokens: 10 })),
      );
      expect(together.map(idsOf)).toEqual(expected);
      engine.checkInvariants();
    }
  }
});

test("draws the same after preemption, with the same logprob bits and seeded tokens", async () => {
  const sampling = { maxTokens: 12, temperature: 1, seed: 99n, logprobs: 3 };
  const alone = [];
  for (const prompt of prompts) alone.push(await generate(startContextEngine().client, prompt, sampling));
  const { client, engine } = startContextEngine({ numBlocks: 14 });
  const together = await Promise.all(prompts.map((prompt) => generate(client, prompt, sampling)));
  expect((await client.stats()).numPreemptions).toBeGreaterThan(0);
  expect(together.map(answerContent)).toEqual(alone.map(answerContent));
  engine.checkInvariants();
});

test("gives logprobs of the raw logits, with as many top tokens as asked", async () => {
  const [first] = await generate(startContextEngine().client, [3, 4, 5], { maxTokens: 1, logprobs: 2 });
  const logprobs = logSoftmax(contextLogits([3, 4, 5], vocabSize));
  const best = logprobs.indexOf(Math.max(...logprobs));
  expect(first!.logprobs![0]).toMatchObject({ logprob: logprobs[best], rank: 1 });
  expect(first!.logprobs![0]!.topIds).toHaveLength(2);
  const [plain] = await generate(startContextEngine().client, [3, 4, 5], { maxTokens: 1 });
  expect(plain!.logprobs).toBeNull();
  const [zero] = await generate(startContextEngine().client, [3, 4, 5], { maxTokens: 1, logprobs: 0 });
  expect(zero!.logprobs![0]!.topIds).toEqual([]);
});

test("ends at the end token, at a stop id and at maxTokens, and says which", async () => {
  const { client } = startContextEngine();
  const tokens = greedy(prompts[2]!, 6);
  const length = await generate(client, prompts[2]!, { maxTokens: 6 });
  expect(length.at(-1)).toMatchObject({ finishReason: "length", stopReason: null });
  const stop = await generate(client, prompts[2]!, { maxTokens: 6, stopTokenIds: [tokens[0]!] });
  expect(stop.at(-1)).toMatchObject({
    newTokenIds: [tokens[0]],
    finishReason: "stop",
    stopReason: tokens[0],
  });
  const forced = { maxTokens: 6, ignoreEos: false, logitBias: new Map([[eos, 100]]) };
  expect(await generate(client, prompts[2]!, forced)).toMatchObject([
    { newTokenIds: [eos], finishReason: "stop", stopReason: null },
  ]);
});

test("bans end and stop ids until minTokens are out", async () => {
  const { client } = startContextEngine();
  const bias = new Map([
    [eos, 100],
    [5, 50],
  ]);
  const sampling = { maxTokens: 9, minTokens: 3, ignoreEos: false, stopTokenIds: [5], logitBias: bias };
  const outputs = await generate(client, prompts[1]!, sampling);
  const ids = idsOf(outputs);
  expect(ids.slice(0, 3).some((id) => id === eos || id === 5)).toBe(false);
  expect(ids.slice(3)).toEqual([eos]);
  expect(outputs.at(-1)!.finishReason).toBe("stop");
});

test("scores every position as the model does, across chunks and beside generation", async () => {
  const tokenIds = Array.from({ length: 40 }, (_, i) => (i * 7) % vocabSize);
  for (const maxNumBatchedTokens of [8, 11, 64]) {
    const { client, engine } = startContextEngine({ maxNumBatchedTokens });
    const [score, deep, generated] = await Promise.all([
      client.score({ tokenIds, start: 5, topK: 0 }),
      client.score({ tokenIds: Int32Array.from(tokenIds), start: 1, topK: 3 }),
      generate(client, prompts[2]!, { maxTokens: 8 }),
    ]);
    const expected = tokenIds.map((id, i) => logSoftmax(contextLogits(tokenIds.slice(0, i), vocabSize))[id]!);
    expect(Array.from(score.logprobs)).toEqual(expected.slice(5));
    expect(Array.from(deep.logprobs)).toEqual(expected.slice(1));
    expect(deep.topIds.length).toBe(39 * 3);
    expect(Array.from(deep.argmax)).toEqual(Array.from({ length: 39 }, (_, i) => deep.topIds[i * 3]!));
    expect(idsOf(generated)).toEqual(greedy(prompts[2]!, 8));
    engine.checkInvariants();
  }
});

test("a score of nothing is empty, and the longest one has one token more than the context", async () => {
  const { client } = startContextEngine();
  expect((await client.score({ tokenIds: [1, 2], start: 2, topK: 4 })).logprobs.length).toBe(0);
  const tokenIds = Array.from({ length: 65 }, () => 3);
  expect((await client.score({ tokenIds, start: 64, topK: 0 })).logprobs.length).toBe(1);
  await expect(client.score({ tokenIds: [...tokenIds, 3], start: 1, topK: 0 })).rejects.toThrow(
    "maximum context length is 64 tokens",
  );
});

test("refuses what can never run, with the numbers", async () => {
  const { client } = startContextEngine({ numBlocks: 4 });
  await expect(
    generate(
      client,
      Array.from({ length: 60 }, () => 1),
      { maxTokens: 5 },
    ),
  ).rejects.toMatchObject({
    code: "context_length_exceeded",
    message: expect.stringMatching(
      /maximum context length is 64 tokens.* 60 prompt .* 5 output .* 65 in total.*or start with --max-model-len 65 or larger/,
    ),
  });
  await expect(generate(client, [1, 2], { maxTokens: 16 })).rejects.toMatchObject({
    code: "request_never_fits",
    message: expect.stringMatching(
      /needs 5 KV blocks of 4 tokens; the whole cache has 4.* --kv-cache-memory-bytes or --memory-utilization/,
    ),
  });
  await expect(generate(client, [])).rejects.toMatchObject({ code: "invalid_request" });
  await expect(generate(client, [vocabSize])).rejects.toThrow("ids are 0 to 16");
  const wrong: Partial<SamplingParams>[] = [
    { temperature: -1 },
    { topP: 0 },
    { topK: 1.5 },
    { minP: 2 },
    { maxTokens: 0 },
    { minTokens: 17 },
    { logprobs: 21 },
    { seed: -1n },
    { stopTokenIds: [99] },
    { logitBias: new Map([[-1, 1]]) },
    { logitBias: new Map([[1, NaN]]) },
  ];
  for (const sampling of wrong) {
    await expect(generate(client, [1], sampling)).rejects.toMatchObject({ code: "invalid_request" });
  }
  expect(await client.stats()).toMatchObject({ numRunning: 0, numWaiting: 0, numFreeBlocks: 4 });
});

test("refuses requests beyond the queue and two open ones with one id", async () => {
  const { client } = startContextEngine({ maxNumSeqs: 1, admission: { maxNumQueuedRequests: 2 } });
  const all = await Promise.allSettled(
    Array.from({ length: 4 }, () => generate(client, [1, 2], { maxTokens: 3 })),
  );
  expect(all.map((r) => (r.status === "rejected" ? (r.reason as MillraceError).code : "ok"))).toEqual([
    "ok",
    "ok",
    "engine_overloaded",
    "engine_overloaded",
  ]);
  const first = generate(client, [1, 2], {}, "same");
  await expect(generate(client, [1, 2], {}, "same")).rejects.toThrow('"same" is already open');
  await first;
  await generate(client, [1, 2], {}, "same");
});

test("an abort ends the request with one empty output and frees its blocks", async () => {
  const { client, engine } = startContextEngine();
  const outputs: EngineOutput[] = [];
  const request = {
    requestId: "a",
    promptTokenIds: [1, 2, 3],
    sampling: { ...defaultSampling, maxTokens: 50, ignoreEos: true },
  };
  for await (const output of client.generate(request)) {
    outputs.push(output);
    if (outputs.length === 3) client.abort("a");
  }
  expect(outputs.at(-1)).toMatchObject({ newTokenIds: [], finishReason: "abort" });
  for await (const _ of client.generate(request)) break;
  await idle(client);
  engine.checkInvariants();
  expect(await client.stats()).toMatchObject({ numAborted: 2, numFreeBlocks: 64, lastStepAgeMs: 0 });
});

test("a failing forward pass ends the requests of its step only", async () => {
  const { client, engine, context } = startContextEngine();
  let numSteps = 0;
  context.onForward = () => {
    numSteps += 1;
    if (numSteps === 3) throw new Error("kernel fault");
  };
  const failed = await Promise.allSettled([
    generate(client, [1]),
    generate(client, [2]),
    client.score({ tokenIds: [1, 2], start: 1, topK: 0 }),
  ]);
  expect(failed.map((r) => r.status)).toEqual(["rejected", "rejected", "fulfilled"]);
  expect((failed[0] as PromiseRejectedResult).reason).toMatchObject({
    code: "engine_failed",
    message: expect.stringContaining("kernel fault"),
  });
  expect(idsOf(await generate(client, prompts[0]!, { maxTokens: 4 }))).toEqual(greedy(prompts[0]!, 4));
  engine.checkInvariants();
});

test("a logit that is not a number ends that request with an error and no other", async () => {
  const { client, engine, context } = startContextEngine();
  context.poison.add(16);
  const [bad, good, badScore] = await Promise.allSettled([
    generate(client, [1, 16]),
    generate(client, [1, 2], { maxTokens: 3, logitBias: new Map([[16, -Infinity]]) }),
    client.score({ tokenIds: [1, 16, 2], start: 1, topK: 0 }),
  ]);
  expect(bad).toMatchObject({ status: "rejected", reason: { code: "model_not_finite" } });
  expect(badScore).toMatchObject({ status: "rejected", reason: { code: "model_not_finite" } });
  expect(good.status).toBe("fulfilled");
  engine.checkInvariants();
});

test("unseeded requests draw seeds from the engine's seed, in order", async () => {
  const sampling = { temperature: 1, maxTokens: 12 };
  const runs = [];
  for (let run = 0; run < 2; run += 1) {
    const { client } = startContextEngine();
    runs.push([idsOf(await generate(client, [1], sampling)), idsOf(await generate(client, [1], sampling))]);
  }
  expect(runs[0]).toEqual(runs[1]);
  expect(runs[0]![0]).not.toEqual(runs[0]![1]);
});

test("after 200 mixed requests with a third aborted everything has come back", async () => {
  const { client, engine } = startContextEngine({ numBlocks: 24, maxNumBatchedTokens: 24 });
  const work = Array.from({ length: 200 }, async (_, index): Promise<void> => {
    const prompt = prompts[index % 8]!;
    if (index % 5 === 4) {
      await client.score({ tokenIds: prompt, start: 1, topK: index % 3 });
      return;
    }
    const request = {
      requestId: `storm-${index}`,
      promptTokenIds: prompt,
      sampling: { ...defaultSampling, maxTokens: 1 + (index % 16), ignoreEos: index % 2 === 0 },
    };
    let numOutputs = 0;
    for await (const _output of client.generate(request)) {
      numOutputs += 1;
      if (index % 6 === 0 && numOutputs === 1 + (index % 4)) break;
      if (index % 6 === 1) client.abort(request.requestId);
    }
  });
  await Promise.all(work);
  await idle(client);
  engine.checkInvariants();
  expect(await client.stats()).toMatchObject({ numRunning: 0, numWaiting: 0, numFreeBlocks: 24 });
  expect((await client.stats()).numAborted).toBeGreaterThan(40);
});

test("checks its books whenever it falls idle, and takes nothing more when they do not agree", async () => {
  const { client, engine } = startContextEngine();
  const check = vi.spyOn(IntegrityCheck.prototype, "checkIdle");
  onTestFinished(() => check.mockRestore());
  for (let count = 1; count <= 3; count += 1) {
    await Promise.all([generate(client, [1, 2]), generate(client, [3])]);
    await ended(engine);
    expect(check).toHaveBeenCalledTimes(count);
  }
  check.mockImplementationOnce(() => {
    throw new Error("a block is missing");
  });
  expect((await generate(client, [1])).at(-1)!.finishReason).toBe("length");
  await ended(engine);
  await expect(generate(client, [1])).rejects.toMatchObject({
    code: "engine_failed",
    message: expect.stringContaining("a block is missing"),
  });
});

test("a fault in the books while a step is taken in stops the engine, and is not taken for a failed step", async () => {
  const { client } = startContextEngine();
  const commit = vi.spyOn(Scheduler.prototype, "commit").mockImplementationOnce(() => {
    throw new Error("a count is wrong");
  });
  onTestFinished(() => commit.mockRestore());
  const stopped = { code: "engine_failed", message: expect.stringContaining("a count is wrong") };
  await expect(generate(client, [1, 2])).rejects.toMatchObject(stopped);
  await expect(generate(client, [1, 2])).rejects.toMatchObject(stopped);
});

test("closing aborts what is open and refuses what comes later", async () => {
  const { client, engine } = startContextEngine();
  const open = generate(client, [1, 2], { maxTokens: 60 });
  const score = client.score({ tokenIds: [1, 2, 3], start: 1, topK: 0 });
  await Promise.all([
    client.close(),
    expect(open).resolves.toMatchObject([{ finishReason: "abort" }]),
    expect(score).rejects.toMatchObject({ code: "engine_closed" }),
  ]);
  await expect(generate(client, [1])).rejects.toMatchObject({ code: "engine_closed" });
  engine.checkInvariants();
});

async function ended(engine: EngineLoop): Promise<void> {
  while (engine.counters.get("isBusy") === 1) await new Promise((resolve) => setImmediate(resolve));
}

async function idle(client: EngineClient): Promise<void> {
  while ((await client.stats()).numRunning > 0) await new Promise((resolve) => setImmediate(resolve));
}
