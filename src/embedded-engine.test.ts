import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createByteTokenizer } from "../tests/byte-tokenizer.ts";
import { writeRandomModel } from "../tests/random-model.ts";
import { Engine } from "./embedded-engine.ts";
import { createFakeClient, type FakeScript } from "./protocol/fake-engine-client.ts";

const root = path.join(import.meta.dirname, "..");

function fakeEngine(text: string, script: FakeScript = {}) {
  const reply = (): number[] => [...new TextEncoder().encode(text)];
  const client = createFakeClient({ reply, ...script });
  return { client, engine: new Engine(client, createByteTokenizer()) };
}

test("the guide's example runs as it stands", async () => {
  const guide = readFileSync(path.join(root, "docs/guide/embedding.md"), "utf8");
  const blocks = [...guide.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code!);
  expect(blocks).toHaveLength(1);
  const folder = mkdtempSync(path.join(os.tmpdir(), "embedding-"));
  try {
    mkdirSync(path.join(folder, "node_modules"));
    symlinkSync(root, path.join(folder, "node_modules", "millrace"), "dir");
    symlinkSync(path.join(root, "node_modules", "zod"), path.join(folder, "node_modules", "zod"), "dir");
    const file = path.join(folder, "example.mjs");
    writeFileSync(file, blocks[0]!);
    const { stdout } = await promisify(execFile)(process.execPath, [file], { cwd: root });
    expect(stdout).toMatch(/promptTokens: \d+/);
    expect(stdout).toMatch(/\{ kind: '(cat|dog)', age: \d+ \}/);
    expect(stdout).toMatch(
      /(complete|diverged|unknown) (max_tokens|end_token)\n\d+ tokens scored\nscored\n$/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe("with a scripted engine", () => {
  test("gives text in pieces and the whole answer, with stop string, counts and trace", async () => {
    const { engine } = fakeEngine("one two three");
    let text = "";
    for await (const delta of engine.generate("p", { maxTokens: 50 })) text += delta.text;
    expect(text).toBe("one two three");
    const whole = await engine.complete("pp", { maxTokens: 50, stop: [" t"], explain: true });
    expect(whole).toMatchObject({ text: "one", finishReason: "stop", stopReason: " t" });
    expect(whole.usage).toEqual({ promptTokens: 3, completionTokens: 5, cachedTokens: 0 });
    expect(whole.trace).toMatchObject({ numPromptTokens: 3, endedBy: "stop_string" });
    expect((await engine.complete("p")).trace).toBeNull();
  });

  test("hands sampling and scheduling on, and defaults for what is left out", async () => {
    const { client, engine } = fakeEngine("abc");
    const scheduling = { tenant: "a", priority: 2 };
    await engine.complete([1, 2], { temperature: 0, logprobs: 1, scheduling, requestId: "mine" });
    const [request] = client.requests;
    expect(request).toMatchObject({ requestId: "mine", promptTokenIds: [1, 2], scheduling });
    expect(request!.sampling).toMatchObject({ temperature: 0, logprobs: 1, maxTokens: 16, topP: 1 });
  });

  test("nothing runs before the loop begins, and leaving the loop ends the request", async () => {
    const { client, engine } = fakeEngine("abc");
    const generation = engine.generate("p");
    expect(client.requests).toHaveLength(0);
    for await (const _ of generation) break;
    expect(client.abortedIds).toHaveLength(1);
  });

  test("a signal ends the request with its own reason, before and while it runs", async () => {
    const hold = (_: unknown, index: number) => (index === 1 ? new Promise<void>(() => {}) : undefined);
    const { client, engine } = fakeEngine("abc", { hold });
    const reason = new Error("enough");
    await expect(engine.complete("p", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(client.requests).toHaveLength(0);
    const controller = new AbortController();
    const seen: number[] = [];
    const run = async (): Promise<void> => {
      for await (const { newTokenIds } of engine.generateTokens([1], { signal: controller.signal })) {
        seen.push(...newTokenIds);
        setImmediate(() => controller.abort(reason));
      }
    };
    await expect(run()).rejects.toBe(reason);
    expect(seen).toHaveLength(1);
    expect(client.abortedIds).toHaveLength(1);
  });

  test("scores under the same terms as it generates, until a signal ends it", async () => {
    const { client, engine } = fakeEngine("abc");
    const scheduling = { tenant: "a" };
    expect((await engine.score("ab", { topK: 1, scheduling })).logprobs).toHaveLength(2);
    expect(client.scoreRequests[0]).toMatchObject({ start: 1, topK: 1, scheduling });
    const held = fakeEngine("abc", { score: () => new Promise(() => {}) });
    const leaving = new AbortController();
    const score = held.engine.score([1, 2, 3], { start: 2, signal: leaving.signal });
    leaving.abort();
    await expect(score).rejects.toBe(leaving.signal.reason);
    expect(held.client.numAbortedScores).toBe(1);
  });

  test("without a tokenizer only token ids are taken", async () => {
    const client = createFakeClient();
    const engine = new Engine(client, null);
    await expect(engine.complete("p")).rejects.toMatchObject({ code: "no_tokenizer" });
    const ids: number[] = [];
    for await (const { newTokenIds } of engine.generateTokens([7, 8])) ids.push(...newTokenIds);
    expect(ids.slice(0, 2)).toEqual([7, 8]);
  });
});

describe("with a real engine", () => {
  const model = writeRandomModel();
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.load(model.path, {
      maxModelLen: 512,
      maxNumSeqs: 64,
      maxNumBatchedTokens: 512,
      numKvBlocks: 400,
    });
  });
  afterAll(async () => {
    await engine.close();
    model.remove();
  });

  async function idsOf(
    prompt: number[],
    options: Parameters<Engine["generateTokens"]>[1],
  ): Promise<number[]> {
    const ids: number[] = [];
    for await (const { newTokenIds } of engine.generateTokens(prompt, options)) ids.push(...newTokenIds);
    return ids;
  }

  test("says why a request took long, and which steps it was in", async () => {
    const prompt = Array.from({ length: 100 }, (_, index) => 5 + index);
    const options = { maxTokens: 3, temperature: 0, ignoreEos: true, explain: true } as const;
    await idsOf(prompt, { ...options, requestId: "first" });
    const outputs = [];
    for await (const output of engine.generateTokens(prompt, { ...options, requestId: "second" }))
      outputs.push(output);
    const trace = outputs.at(-1)!.trace!;
    expect(outputs.slice(0, -1).every((output) => output.trace === undefined)).toBe(true);
    expect(trace).toMatchObject({ numPromptTokens: 100, numCachedTokens: 99, prefixHitEnd: "complete" });
    expect(trace).toMatchObject({ numChunks: 1, numChunkTokens: 1, numSteps: 3, endedBy: "max_tokens" });
    expect(trace.firstStepMs!).toBeLessThan(trace.firstTokenMs!);
    const steps = await engine.recentSteps();
    const own = steps.filter(({ active }) => active.some(({ requestId }) => requestId === "second"));
    expect(own).toHaveLength(3);
    expect(own[0]).toMatchObject({ joined: ["second"], numTokens: 1 });
    expect(own[0]!.left).toEqual(["first"]);
  });

  test("1,000 readers that stop get all that came meanwhile as one output", async () => {
    const sampling = { maxTokens: 100, temperature: 0, ignoreEos: true } as const;
    const ofStep = { ...sampling, signal: AbortSignal.timeout(100_000) };
    const iterators = Array.from({ length: 1000 }, (_, index) =>
      engine.generateTokens([5 + (index % 200), 6], ofStep)[Symbol.asyncIterator](),
    );
    const firsts = await Promise.all(iterators.map((iterator) => iterator.next()));
    // Everyone has read once and reads no more; the engine goes on to the end.
    while ((await engine.stats()).numRunning + (await engine.stats()).numWaiting > 0)
      await new Promise((resolve) => setTimeout(resolve, 20));
    // The answer comes behind all steps.
    await engine.recentSteps();
    const rests = await Promise.all(iterators.map((iterator) => iterator.next()));
    for (const [index, rest] of rests.entries()) {
      const first = firsts[index]!.value!;
      expect(rest.value.newTokenIds.length + first.newTokenIds.length).toBe(100);
      expect(rest.value.finishReason).toBe("length");
    }
    const alone = await idsOf([5, 6], sampling);
    expect([...firsts[0]!.value!.newTokenIds, ...rests[0]!.value.newTokenIds]).toEqual(alone);
    expect(await engine.stats()).toMatchObject({ numRunning: 0, numFreeBlocks: 400 });
  });
});
