import { expect, test } from "vitest";
import { loadAddon } from "../kernels/addon.ts";
import { createOps } from "../kernels/create-ops.ts";
import { type KvPlanInput, kvBlockBytes, planKvCache } from "./kv-plan.ts";

const gib = 1024 ** 3;
const mib = 1024 ** 2;

/** SmolLM2-135M's shape: 22,500 bytes of K and V per token and 2 bytes an element, 720 KiB a block. */
const input: KvPlanInput = {
  availableBytes: 8 * gib,
  isFilling: false,
  shape: { numLayers: 30, numKvHeads: 3, headDim: 64 },
  draftShape: null,
  dtype: "f16",
  blockSize: 32,
  askedMaxModelLen: null,
  modelMaxLen: 2048,
  maxNumSeqs: 128,
  kvCacheMemoryBytes: null,
  numKvBlocks: null,
};
const blockBytes = 2 * 30 * 3 * 64 * 32 * 2;

test("counts K and V of all layers, and a scale of 4 bytes for each token and head of int8", () => {
  expect(kvBlockBytes(input.shape, "f16", 32)).toBe(blockBytes);
  expect(kvBlockBytes(input.shape, "f32", 32)).toBe(2 * blockBytes);
  expect(kvBlockBytes(input.shape, "int8", 32)).toBe(blockBytes / 2 + 2 * 30 * 3 * 32 * 4);
});

test.skipIf(loadAddon().addon === undefined)("counts what the native kernels take, to the page", () => {
  const { ops } = createOps({ numThreads: 1, backend: "native" });
  try {
    for (const dtype of ["f32", "f16", "bf16", "int8"] as const) {
      for (const [headDim, blockSize] of [
        [64, 32],
        [80, 32],
        [24, 5],
        [8, 4],
      ] as const) {
        const shape = { numLayers: 3, numKvHeads: 2, headDim };
        const cache = ops.createKvCache({ ...shape, numBlocks: 40, blockSize, dtype });
        const planned = 40 * kvBlockBytes(shape, dtype, blockSize);
        expect(cache.sizeBytes).toBeGreaterThanOrEqual(planned);
        expect(cache.sizeBytes - planned).toBeLessThan(4 * 3 * 4096);
      }
    }
  } finally {
    ops.close();
  }
});

test("takes a quarter of the free memory, 4 GiB, or what all sequences need, whichever is least", () => {
  expect(planKvCache(input).numBlocks).toBe(Math.floor((2 * gib) / blockBytes));
  expect(planKvCache({ ...input, availableBytes: 64 * gib }).numBlocks).toBe(
    Math.floor((4 * gib) / blockBytes),
  );
  expect(planKvCache({ ...input, maxNumSeqs: 4 }).numBlocks).toBe(4 * 64);
});

test("fills what may be taken where a share of memory was asked for, up to what sequences can use", () => {
  const filling = { ...input, isFilling: true };
  expect(planKvCache({ ...filling, availableBytes: gib }).sizeBytes).toBeGreaterThan(gib - blockBytes);
  expect(planKvCache({ ...filling, maxNumSeqs: 4 }).numBlocks).toBe(4 * 64);
});

test("says the tokens and the contexts", () => {
  expect(planKvCache({ ...input, maxNumSeqs: 4 }).contents).toBe(
    "256 blocks of 32 tokens in f16: 8,192 tokens, 4.0 contexts of 2,048 at once",
  );
});

test("takes for auto the longest context that fits, beyond the default share but never beyond what is there", () => {
  const auto = { ...input, askedMaxModelLen: "auto", modelMaxLen: 131072 } as const;
  expect(planKvCache(auto)).toMatchObject({ maxModelLen: 131072, numBlocks: 4096 });
  const tight = planKvCache({ ...auto, availableBytes: gib });
  expect(tight.numBlocks).toBe(Math.floor(gib / blockBytes));
  expect(tight.maxModelLen).toBe(tight.numBlocks * 32);
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
    "A context of 8,192 tokens needs 180 MiB of KV cache; 100 MiB of memory are left for it. " +
      "Start with --max-model-len 4544 or less, or free memory, or take fewer bytes with --kv-cache-dtype int8.",
  );
  // Where --memory-utilization sizes the cache, that is what to raise.
  expect(() => planKvCache({ ...asked, availableBytes: 100 * mib, isFilling: true })).toThrow(
    "Start with --max-model-len 4544 or less, or give a larger --memory-utilization, or take fewer bytes",
  );
});

test("takes an asked size exactly, and refuses one that is not there or holds too little", () => {
  expect(planKvCache({ ...input, kvCacheMemoryBytes: 10 * blockBytes + 5 })).toMatchObject({
    numBlocks: 10,
    maxModelLen: 320,
  });
  expect(() => planKvCache({ ...input, kvCacheMemoryBytes: 9 * gib })).toThrow(
    "asks for 9.00 GiB; 8.00 GiB of memory are left for the KV cache. Give 8.00 GiB or less",
  );
  expect(() => planKvCache({ ...input, kvCacheMemoryBytes: 5 })).toThrow(
    "Give a larger --kv-cache-memory-bytes.",
  );
  expect(() => planKvCache({ ...input, kvCacheMemoryBytes: 10 * blockBytes, askedMaxModelLen: 321 })).toThrow(
    "--kv-cache-memory-bytes gives 7.03 MiB. Start with --max-model-len 320 or less, or give a larger",
  );
});
