import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defaultEngineOptions, type EngineOptions } from "../../src/engine/engine-options.ts";
import { startEngineWorker } from "../../src/engine/worker-client.ts";
import type { EngineClient } from "../../src/protocol/engine-client.ts";
import { defaultSampling } from "../../src/protocol/sampling-params.ts";
import { type AdapterChoice, attentionTargets, mlpTargets, writeAdapter } from "../lora-adapter.ts";
import { type RandomModel, writeRandomModel } from "../random-model.ts";

const scratch = mkdtempSync(path.join(os.tmpdir(), "lora-"));
const all = [...attentionTargets, ...mlpTargets];
const prompt = Array.from({ length: 70 }, (_, i) => (i * 37) % 300);
const choices: Readonly<Record<string, AdapterChoice>> = {
  first: { targets: all, rank: 4, alpha: 8, seed: 1 },
  second: { targets: ["q_proj", "v_proj"], rank: 8, alpha: 16, seed: 2 },
  third: { targets: mlpTargets, rank: 2, alpha: 4, seed: 3, config: { use_rslora: true } },
};

let model: RandomModel;
beforeAll(() => {
  model = writeRandomModel();
  for (const [name, choice] of Object.entries(choices)) adapter(name, choice);
});
afterAll(() => {
  model.remove();
  rmSync(scratch, { recursive: true, force: true });
});

function adapter(name: string, choice: AdapterChoice): string {
  return writeAdapter(model.path, path.join(scratch, name), choice);
}

function source(name: string): { readonly name: string; readonly path: string } {
  return { name, path: path.join(scratch, name) };
}

/** An engine with all three adapters. */
function startEngine(more: Partial<EngineOptions> = {}): Promise<EngineClient> {
  const initial = Object.keys(choices).map(source);
  return startEngineWorker({
    ...defaultEngineOptions(model.path),
    kvCacheMemoryBytes: 4e6,
    maxNumSeqs: 16,
    numThreads: 2,
    adapters: { maxRank: 8, maxNumAdapters: 4, initial },
    ...more,
  });
}

let nextId = 0;

/** Ids and log-probability bits of an answer. */
async function answer(client: EngineClient, name: string | undefined, ids = prompt): Promise<string> {
  nextId += 1;
  const request = {
    requestId: String(nextId),
    promptTokenIds: ids,
    sampling: { ...defaultSampling, maxTokens: 12, ignoreEos: true, logprobs: 3, temperature: 1, seed: 7n },
    ...(name === undefined ? {} : { adapter: name }),
  };
  const parts: unknown[] = [];
  for await (const { newTokenIds, logprobs } of client.generate(request)) parts.push(newTokenIds, logprobs);
  return JSON.stringify(parts);
}

const names = [undefined, "first", "second", "third"];

describe("LoRA adapters in one engine", () => {
  const settings: [string, Partial<EngineOptions>][] = [
    ["bfloat16", {}],
    ["f32", { dtype: "float32", activations: "f32" }],
    ["chunks of 16 tokens, no prefix cache", { maxNumBatchedTokens: 16, enablePrefixCaching: false }],
    ["guesses from the text", { speculation: { numTokens: 3, draftPath: null, isAdaptive: false } }],
  ];

  test.each(settings)("three in one batch, and none, answer as alone: %s", async (_, more) => {
    const client = await startEngine(more);
    try {
      const alone: string[] = [];
      for (const name of names) {
        client.resetPrefixCache();
        alone.push(await answer(client, name));
      }
      expect(new Set(alone).size).toBe(names.length);
      client.resetPrefixCache();
      const crowd = Array.from({ length: 12 }, (_, i) => i % names.length);
      const together = await Promise.all(crowd.map((at) => answer(client, names[at])));
      expect(together).toEqual(crowd.map((at) => alone[at]));
      // What is cached of one is not taken for another.
      for (const [at, name] of names.entries()) expect(await answer(client, name)).toBe(alone[at]);
    } finally {
      await client.close();
    }
  });

  test("a base engine that takes adapters answers as one that takes none", async () => {
    const [with_, without] = [await startEngine(), await startEngine({ adapters: null })];
    try {
      const expected = await answer(without, undefined);
      const [mixed] = await Promise.all([undefined, "first", "third"].map((name) => answer(with_, name)));
      expect(mixed).toBe(expected);
      await expect(answer(without, "first")).rejects.toMatchObject({ code: "adapter_not_found" });
      expect(without.adapters).toBeNull();
    } finally {
      await Promise.all([with_.close(), without.close()]);
    }
  });

  test("scores are those of the adapter", async () => {
    const client = await startEngine();
    try {
      const score = async (name: string | undefined): Promise<Float32Array> => {
        const own = name === undefined ? {} : { adapter: name };
        return (await client.score({ tokenIds: prompt, start: 1, topK: 0, ...own })).logprobs;
      };
      const alone: Float32Array[] = [];
      for (const name of names) alone.push(await score(name));
      expect(await Promise.all(names.map(score))).toEqual(alone);
      expect(new Set(alone.map((scores) => scores[40])).size).toBe(names.length);
    } finally {
      await client.close();
    }
  });

  test("one is unloaded while it answers, and another comes under its name", async () => {
    const client = await startEngine();
    try {
      const host = client.adapters!;
      expect(host.initial.map(({ name, rank }) => [name, rank])).toEqual([
        ["first", 4],
        ["second", 8],
        ["third", 2],
      ]);
      const before = await answer(client, "first");
      const running = answer(client, "first");
      await host.unload("first");
      expect(await running).toBe(before);
      await expect(answer(client, "first")).rejects.toMatchObject({ code: "adapter_not_found" });
      await expect(host.unload("first")).rejects.toMatchObject({ code: "adapter_not_found" });
      const other = { name: "first", path: path.join(scratch, "second") };
      expect(await host.load(other)).toMatchObject({ ...other, rank: 8 });
      expect(await answer(client, "first")).toBe(await answer(client, "second"));
      await expect(host.load(other)).rejects.toMatchObject({ code: "adapter_exists" });
      await host.load({ ...source("second"), name: "fourth" });
      await expect(host.load(source("fifth"))).rejects.toMatchObject({ code: "too_many_adapters" });
    } finally {
      await client.close();
    }
  });

  test("adapters that come and go leave no memory behind", async () => {
    const client = await startEngine({ adapters: { maxRank: 8, maxNumAdapters: 1, initial: [] } });
    try {
      expect(client.adapters!.maxNumAdapters).toBe(1);
      const sizes: number[] = [];
      for (let round = 0; round < 3; round += 1) {
        sizes.push((await client.adapters!.load(source("first"))).sizeBytes);
        await answer(client, "first");
        await client.adapters!.unload("first");
      }
      expect(new Set(sizes).size).toBe(1);
      expect(sizes[0]).toBeGreaterThan(10_000);
    } finally {
      await client.close();
    }
  });
});

describe("hostile adapters are refused, and the engine goes on", () => {
  const plain: AdapterChoice = { targets: all, rank: 4, alpha: 8, seed: 9 };
  const some = "base_model.model.model.layers.0.self_attn.q_proj";
  const refusals: [string, string, Partial<AdapterChoice>, RegExp][] = [
    ["DoRA", "unsupported_adapter", { config: { use_dora: true } }, /use_dora = true/],
    ["biases", "unsupported_adapter", { config: { bias: "lora_only" } }, /bias = "lora_only"/],
    ["a bias of B", "unsupported_adapter", { config: { lora_bias: true } }, /lora_bias/],
    ["whole modules", "unsupported_adapter", { config: { modules_to_save: ["lm_head"] } }, /modules_to_save/],
    ["another kind", "unsupported_adapter", { config: { peft_type: "IA3" } }, /peft_type = "IA3"/],
    ["a pattern", "unsupported_adapter", { config: { rank_pattern: { "(a+)+$": 4 } } }, /other patterns/],
    ["too high a rank", "unsupported_adapter", { rank: 9 }, /rank 9; --max-lora-rank allows 8/],
    ["no rank", "invalid_adapter", { config: { r: 0 } }, /r = 0; it must be a whole number/],
    ["an endless rank", "invalid_adapter", { config: { r: 1e9 } }, /it must be a whole number/],
    ["another rank than it says", "invalid_adapter", { config: { r: 3 } }, /gives it the rank 3/],
    ["an alpha of text", "invalid_adapter", { config: { lora_alpha: "8" } }, /lora_alpha = "8"/],
    [
      "a missing B",
      "invalid_adapter",
      { change: (tensors) => void tensors.delete(`${some}.lora_B.weight`) },
      /no lora_B for model\.layers\.0/,
    ],
    ["no tensors", "invalid_adapter", { change: (tensors) => tensors.clear() }, /holds no tensors/],
    [
      "a wrong width",
      "invalid_adapter",
      { change: (tensors) => replace(tensors, `${some}.lora_A.weight`, [4, 32]) },
      /which is \[128, 64\] in this model/,
    ],
    [
      "a vector",
      "invalid_adapter",
      { change: (tensors) => replace(tensors, `${some}.lora_A.weight`, [256]) },
      /matrices of F32, F16 or BF16/,
    ],
    [
      "a layer too many",
      "unsupported_adapter",
      { change: (tensors) => rename(tensors, some, some.replace("layers.0", "layers.7")) },
      /no linear of this model's layers/,
    ],
    [
      "the embedding",
      "unsupported_adapter",
      { change: (tensors) => rename(tensors, some, "base_model.model.model.embed_tokens") },
      /no linear of this model's layers/,
    ],
    [
      "a tensor of DoRA",
      "unsupported_adapter",
      {
        change: (tensors) =>
          void tensors.set(`${some}.lora_magnitude_vector`, { shape: [1], values: new Float32Array(1) }),
      },
      /lora_magnitude_vector/,
    ],
    [
      "values that are no numbers",
      "invalid_adapter",
      { change: (tensors) => void tensors.get(`${some}.lora_A.weight`)!.values.fill(Number.NaN) },
      /not finite numbers/,
    ],
  ];

  test("each with its code and what is wrong", async () => {
    const client = await startEngine();
    try {
      const before = await answer(client, "first");
      const host = client.adapters!;
      for (const [name, code, choice, message] of refusals) {
        adapter("bad", { ...plain, ...choice });
        const refusal = host.load({ ...source("bad"), name });
        await expect(refusal, name).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
      }
      const missing = { name: "missing", path: path.join(scratch, "missing") };
      await expect(host.load(missing)).rejects.toMatchObject({ code: "invalid_adapter" });
      adapter("bad", plain);
      writeFileSync(path.join(scratch, "bad", "adapter_model.safetensors"), "not tensors at all");
      await expect(host.load(source("bad"))).rejects.toMatchObject({ code: "invalid_adapter" });
      writeFileSync(path.join(scratch, "bad", "adapter_config.json"), "[]");
      await expect(host.load(source("bad"))).rejects.toMatchObject({ code: "invalid_adapter" });
      expect(await answer(client, "first")).toBe(before);
      // Nothing of them was kept: there is room for one more.
      adapter("good", plain);
      await host.load(source("good"));
    } finally {
      await client.close();
    }
  });

  test("at the start, the engine does not start", async () => {
    adapter("bad", { ...plain, config: { use_dora: true } });
    const adapters = { maxRank: 8, maxNumAdapters: 4, initial: [source("bad")] };
    await expect(startEngine({ adapters })).rejects.toMatchObject({ code: "unsupported_adapter" });
  });
});

type Tensors = Parameters<NonNullable<AdapterChoice["change"]>>[0];

function replace(tensors: Tensors, name: string, shape: readonly number[]): void {
  const count = shape.reduce((product, size) => product * size, 1);
  tensors.set(name, { shape, values: new Float32Array(count) });
}

function rename(tensors: Tensors, from: string, to: string): void {
  for (const side of ["A", "B"]) {
    tensors.set(`${to}.lora_${side}.weight`, tensors.get(`${from}.lora_${side}.weight`)!);
    tensors.delete(`${from}.lora_${side}.weight`);
  }
}
