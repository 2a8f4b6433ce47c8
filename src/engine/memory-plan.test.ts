import { expect, test } from "vitest";
import type { ModelConfig } from "../formats/model-config.ts";
import {
  checkWeightsFit,
  estimateWeightBytes,
  type KvPlanInput,
  kvBlockBytes,
  planKvCache,
} from "./memory-plan.ts";

const gib = 1024 ** 3;
const mib = 1024 ** 2;

/** SmolLM2-135M's shape: 22,500 bytes of K and V per token and 2 bytes an element, 720 KiB a block. */
const input: KvPlanInput = {
  availableBytes: 8 * gib,
  shape: { numLayers: 30, numKvHeads: 3, headDim: 64 },
  dtype: "f16",
  blockSize: 32,
  askedMaxModelLen: null,
  modelMaxLen: 2048,
  maxNumSeqs: 128,
  kvCacheMemoryBytes: null,
  numKvBlocks: null,
};
const blockBytes = 2 * 30 * 3 * 64 * 32 * 2;

test("counts K and V of all layers", () => {
  expect(kvBlockBytes(input.shape, "f16", 32)).toBe(blockBytes);
  expect(kvBlockBytes(input.shape, "f32", 32)).toBe(2 * blockBytes);
});

test("takes a quarter of the free memory, 4 GiB, or what all sequences need, whichever is least", () => {
  expect(planKvCache(input).numBlocks).toBe(Math.floor((2 * gib) / blockBytes));
  expect(planKvCache({ ...input, availableBytes: 64 * gib }).numBlocks).toBe(
    Math.floor((4 * gib) / blockBytes),
  );
  expect(planKvCache({ ...input, maxNumSeqs: 4 }).numBlocks).toBe(4 * 64);
});

test("says the size, the tokens and the contexts", () => {
  expect(planKvCache({ ...input, maxNumSeqs: 4 }).note).toBe(
    "KV cache: 256 blocks of 32 tokens in f16, 180 MiB: 8,192 tokens, 4.0 contexts of 2,048 at once",
  );
});

test("shortens a context that nobody asked for", () => {
  const plan = planKvCache({ ...input, modelMaxLen: 131072 });
  expect(plan.maxModelLen).toBe(plan.numBlocks * 32);
  expect(plan.maxModelLen).toBeLessThan(131072);
});

test("gives an asked context more than the default share, or refuses it with the numbers", () => {
  const asked = { ...input, askedMaxModelLen: 8192, availableBytes: 400 * mib };
  expect(planKvCache(asked).numBlocks).toBe(256);
  expect(() => planKvCache({ ...asked, availableBytes: 100 * mib })).toThrow(
    "A context of 8,192 tokens needs 180 MiB of KV cache; 100 MiB of memory are free. " +
      "Start with --max-model-len 1120 or less, or with a larger --kv-cache-memory-bytes.",
  );
});

test("takes an asked size exactly, and refuses one that is not there or holds too little", () => {
  expect(planKvCache({ ...input, kvCacheMemoryBytes: 10 * blockBytes + 5 })).toMatchObject({
    numBlocks: 10,
    maxModelLen: 320,
  });
  expect(() => planKvCache({ ...input, kvCacheMemoryBytes: 9 * gib })).toThrow("asks for 9.00 GiB; 8.00 GiB");
  expect(() => planKvCache({ ...input, kvCacheMemoryBytes: 5 })).toThrow("Free memory, or give a larger");
  expect(() => planKvCache({ ...input, kvCacheMemoryBytes: 10 * blockBytes, askedMaxModelLen: 321 })).toThrow(
    "--kv-cache-memory-bytes gives 7.03 MiB. Start with --max-model-len 320",
  );
});

test("estimates weights from the header and refuses those that do not fit", () => {
  const config = {
    hiddenSize: 576,
    intermediateSize: 1536,
    numLayers: 30,
    numHeads: 9,
    numKvHeads: 3,
    headDim: 64,
    vocabSize: 49152,
    tieWordEmbeddings: true,
  } as ModelConfig;
  expect(estimateWeightBytes(config, 1000, "auto")).toBe(1000);
  // 134,515,008 parameters, of which 61 norms of 576 are not counted.
  expect(estimateWeightBytes(config, 1000, "bfloat16")).toBe(2 * (134_515_008 - 61 * 576));
  expect(() => checkWeightsFit(2 * gib, gib, "float32")).toThrow(
    "need 2.00 GiB; 1.00 GiB of memory are free",
  );
  checkWeightsFit(gib, gib, "auto");
});
