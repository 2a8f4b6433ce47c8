import { expect, test } from "vitest";
import { MillraceError } from "../base/errors.ts";
import type { EngineOutput, GenerateRequest } from "./engine-client.ts";
import { createFakeClient, fakeEosTokenId } from "./fake-engine-client.ts";
import { defaultSampling, type SamplingParams } from "./sampling-params.ts";

function request(requestId: string, sampling: Partial<SamplingParams> = {}): GenerateRequest {
  return { requestId, promptTokenIds: [10, 11, 12], sampling: { ...defaultSampling, ...sampling } };
}

async function collect(outputs: AsyncIterable<EngineOutput>): Promise<EngineOutput[]> {
  const all: EngineOutput[] = [];
  for await (const output of outputs) all.push(output);
  return all;
}

test("echoes the prompt and ends with the end token", async () => {
  const client = createFakeClient();
  const outputs = await collect(client.generate(request("a")));
  expect(outputs.flatMap((o) => o.newTokenIds)).toEqual([10, 11, 12, fakeEosTokenId]);
  expect(outputs.map((o) => o.finishReason)).toEqual([null, null, null, "stop"]);
});

test("ends with length at maxTokens, also when it ignores the end token", async () => {
  const client = createFakeClient({ tokensPerOutput: 4 });
  const short = await collect(client.generate(request("a", { maxTokens: 2 })));
  expect(short.at(-1)).toMatchObject({ newTokenIds: [10, 11], finishReason: "length" });
  const long = await collect(client.generate(request("b", { maxTokens: 5, ignoreEos: true })));
  expect(long.flatMap((o) => o.newTokenIds)).toEqual([10, 11, 12, 10, 11]);
});

test("names the stop id that ended it", async () => {
  const outputs = await collect(createFakeClient().generate(request("a", { stopTokenIds: [11] })));
  expect(outputs.at(-1)).toMatchObject({ newTokenIds: [11], finishReason: "stop", stopReason: 11 });
});

test("an abort ends a held answer with one empty output", async () => {
  const client = createFakeClient({ hold: (_, index) => (index === 1 ? new Promise(() => {}) : undefined) });
  const seen: EngineOutput[] = [];
  for await (const output of client.generate(request("a"))) {
    seen.push(output);
    client.abort("a");
  }
  expect(seen.at(-1)).toMatchObject({ newTokenIds: [], finishReason: "abort" });
  expect(client.abortedIds).toEqual(["a"]);
  expect(await client.stats()).toMatchObject({ numRunning: 0, numAborted: 1, numFreeBlocks: 1024 });
});

test("leaving the loop early aborts the request", async () => {
  const client = createFakeClient();
  for await (const _ of client.generate(request("a"))) break;
  expect(client.abortedIds).toEqual(["a"]);
});

test("an error rejects one iteration and leaves the others open", async () => {
  const client = createFakeClient({
    fail: (r, index) =>
      r.requestId === "bad" && index === 1 ? new MillraceError("engine_failed", "x") : undefined,
  });
  const bad = collect(client.generate(request("bad")));
  const good = collect(client.generate(request("good")));
  await expect(bad).rejects.toMatchObject({ code: "engine_failed" });
  expect((await good).at(-1)?.finishReason).toBe("stop");
  expect((await client.stats()).numRunning).toBe(0);
});

test("gives logprobs as asked and a score of the right shape", async () => {
  const client = createFakeClient();
  const [first] = await collect(client.generate(request("a", { logprobs: 2 })));
  expect(first?.logprobs?.[0]?.topIds).toEqual([10, 11]);
  const score = await client.score({ tokenIds: [5, 6, 7], start: 1, topK: 2 });
  expect(Array.from(score.argmax)).toEqual([6, 7]);
  expect(score.topIds.length).toBe(4);
});
