import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeFormulaModel } from "../../../tests/golden/formula-weights.ts";
import { readJson } from "../../../tests/golden/golden-files.ts";
import { repositoryPath } from "../../../tests/test-data.ts";
import type { EngineClient } from "../../protocol/engine-client.ts";
import { defaultSampling } from "../../protocol/sampling-params.ts";
import { defaultEngineOptions, type EngineOptions } from "../engine-options.ts";
import { startEngineWorker } from "../worker-client.ts";
import { createInProcessEmbeddingClient } from "./embedding-client.ts";
import { loadEmbeddingEngine } from "./load-embedding-engine.ts";

const { bert } = readJson<{ bert: { config: Record<string, unknown>; shapes: Record<string, number[]> } }>(
  repositoryPath("tests", "golden", "recorded", "shape-variants.json"),
);

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-bert-"));
  writeFormulaModel(folder, bert.config, bert.shapes, 1);
});
afterAll(() => rmSync(folder, { recursive: true }));

function start(options: Partial<EngineOptions> = {}): EngineClient {
  return createInProcessEmbeddingClient(
    loadEmbeddingEngine({ ...defaultEngineOptions(folder), numThreads: 1, ...options }),
  );
}

/** Texts of 1, 6, 11 … 61 tokens. */
const texts = Array.from({ length: 13 }, (_, index) =>
  Array.from({ length: 1 + 5 * index }, (_, i) => (index * 31 + i * 7) % 97),
);

async function embedAll(client: EngineClient): Promise<Float32Array[]> {
  const vectors = await Promise.all(texts.map((tokenIds) => client.embed({ tokenIds })));
  await client.close();
  return vectors;
}

test("a text's vector does not depend on batch, threads or thread of its own, to the bit", async () => {
  const alone: Float32Array[] = [];
  const client = start();
  for (const tokenIds of texts) alone.push(await client.embed({ tokenIds }));
  await client.close();
  for (const options of [{}, { numThreads: 2 }, { maxNumBatchedTokens: 70 }, { maxNumSeqs: 3 }]) {
    expect(await embedAll(start(options))).toEqual(alone);
  }
  const worker = await startEngineWorker({ ...defaultEngineOptions(folder), numThreads: 2 });
  expect(worker.info.embeddingSize).toBe(36);
  expect(await embedAll(worker)).toEqual(alone);
  for (const vector of alone) {
    const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
    expect(length).toBeCloseTo(1, 6);
  }
});

test("pools and cuts as the files of sentence-transformers say, or refuses them by name", async () => {
  const own = mkdtempSync(path.join(tmpdir(), "millrace-bert-"));
  writeFormulaModel(own, bert.config, bert.shapes, 1);
  const write = (name: string, value: unknown): void =>
    writeFileSync(path.join(own, name), JSON.stringify(value));
  const type = (name: string): string => `sentence_transformers.models.${name}`;
  const modules = [
    { type: type("Transformer"), path: "" },
    { type: type("Pooling"), path: "" },
  ];
  write("modules.json", modules);
  write("sentence_bert_config.json", { max_seq_length: 20 });
  // The pooling module shares the folder: its config.json is the model's, which names no mode, so the mean.
  const client = start({ modelPath: own });
  expect(client.info.maxModelLen).toBe(20);
  expect(client.info.notes.join("\n")).toContain("--max-model-len takes up to 64");
  const vector = await client.embed({ tokenIds: texts[2]! });
  expect(Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))).toBeGreaterThan(1.5);
  await expect(client.embed({ tokenIds: texts[5]! })).rejects.toThrow(
    /maximum context length is 20 tokens. The text has 26.*--max-model-len 26/,
  );
  await client.close();
  write("modules.json", [...modules, { type: type("Dense"), path: "2_Dense" }]);
  expect(() => start({ modelPath: own })).toThrow(/modules.json has type = "Dense"; .*Pooling, Normalize/);
  rmSync(own, { recursive: true });
});

test("refuses what it cannot do, and one bad text stops no other", async () => {
  const client = start({ maxNumQueuedRequests: 3 });
  const good = client.embed({ tokenIds: texts[1]! });
  await expect(client.embed({ tokenIds: [] })).rejects.toThrow(/no tokens/);
  await expect(client.embed({ tokenIds: [97] })).rejects.toThrow(/ids are 0 to 96/);
  expect(await good).toHaveLength(36);
  const open = texts.slice(0, 5).map((tokenIds) => client.embed({ tokenIds }));
  const outcomes = await Promise.allSettled(open);
  expect(outcomes.map(({ status }) => status)).toEqual([
    "fulfilled",
    "fulfilled",
    "fulfilled",
    "rejected",
    "rejected",
  ]);
  expect(outcomes[3]).toMatchObject({ reason: { code: "engine_overloaded", retryAfterSeconds: 1 } });
  await expect(client.score({ tokenIds: [1, 2], start: 1, topK: 0 })).rejects.toThrow(/makes embeddings/);
  const generate = async (): Promise<void> => {
    const request = { requestId: "r", promptTokenIds: [1], sampling: { ...defaultSampling, maxTokens: 1 } };
    for await (const _ of client.generate(request));
  };
  await expect(generate()).rejects.toThrow(/makes embeddings and no text/);
  const waiting = client.embed({ tokenIds: texts[3]! });
  const refused = expect(waiting).rejects.toMatchObject({ code: "engine_closed" });
  await client.close();
  await refused;
  const short = start({ maxNumQueuedTokens: 10 });
  const kept = short.embed({ tokenIds: texts[1]! });
  await expect(short.embed({ tokenIds: texts[1]! })).rejects.toThrow(
    /6 tokens wait; at most 10.*--max-num-queued-tokens/,
  );
  expect(await kept).toHaveLength(36);
  await short.close();
  expect(() => start({ maxModelLen: 65 })).toThrow(/--max-model-len is 65.*at most 64/);
  expect(() => start({ speculation: { numTokens: 2, draftPath: null } })).toThrow(/--spec-method/);
});

test("a signal gives a waiting text up", async () => {
  const client = start();
  const controller = new AbortController();
  const first = client.embed({ tokenIds: texts[1]! });
  const second = client.embed({ tokenIds: texts[2]! }, controller.signal);
  controller.abort(new Error("gone"));
  await expect(second).rejects.toThrow("gone");
  expect(await first).toHaveLength(36);
  expect(await client.stats()).toMatchObject({ numAborted: 1, numFinished: 1, numWaiting: 0 });
  await client.close();
});
