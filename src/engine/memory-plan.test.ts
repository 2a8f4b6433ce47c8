import fc from "fast-check";
import { expect, test } from "vitest";
import { isMillraceError } from "../base/errors.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import { type DraftSizes, type MemoryPlanInput, planMemory } from "./memory-plan.ts";

const gib = 1024 ** 3;
const mib = 1024 ** 2;

/** SmolLM2-135M. */
const config = {
  hiddenSize: 576,
  intermediateSize: 1536,
  numLayers: 30,
  numHeads: 9,
  numKvHeads: 3,
  headDim: 64,
  vocabSize: 49152,
  tieWordEmbeddings: true,
  experts: null,
} as ModelConfig;

const input: MemoryPlanInput = {
  freeBytes: 8 * gib,
  utilization: null,
  weightBytes: 257 * mib,
  rotationBytes: 0,
  draft: null,
  activationBytes: 100 * mib,
  maxNumBatchedTokens: 2048,
  swapSpaceBytes: 0,
  weightDtype: "auto",
  shape: config,
  dtype: "f16",
  blockSize: 32,
  askedMaxModelLen: null,
  modelMaxLen: 8192,
  maxNumSeqs: 4,
  kvCacheMemoryBytes: null,
  numKvBlocks: null,
};

test("prints a table of all parts and their sum", () => {
  expect(planMemory(input).lines).toEqual([
    "Memory plan: 8.00 GiB of memory are free",
    "  weights       257 MiB  from the file's header",
    "  KV cache      720 MiB  1,024 blocks of 32 tokens in f16: 32,768 tokens, 4.0 contexts of 8,192 at once",
    "  activations   100 MiB  a step of 2,048 tokens",
    "  together     1.05 GiB",
  ]);
});

/** A third of the KV cache's width, a tenth of the weights. */
const draft: DraftSizes = {
  shape: { numLayers: 10, numKvHeads: 3, headDim: 64 },
  weightBytes: 26 * mib,
  activationBytes: 10 * mib,
};

test("counts a draft model's weights, and its KV cache of as many blocks", () => {
  const plan = planMemory({ ...input, draft });
  expect(plan.lines).toEqual([
    "Memory plan: 8.00 GiB of memory are free",
    "  weights       257 MiB  from the file's header",
    "  KV cache      720 MiB  1,024 blocks of 32 tokens in f16: 32,768 tokens, 4.0 contexts of 8,192 at once",
    "  draft        26.0 MiB  weights of --spec-model, from the file's header",
    "  draft KV      240 MiB  1,024 blocks, those of the KV cache",
    "  activations   100 MiB  a step of 2,048 tokens",
    "  together     1.31 GiB",
  ]);
  const asked = planMemory({ ...input, draft, kvCacheMemoryBytes: 100 * mib }).kv;
  expect(asked.sizeBytes + asked.draftBytes).toBeLessThanOrEqual(100 * mib);
  expect(asked.numBlocks).toBe(Math.floor((100 * mib) / (960 * 1024)));
});

test("refuses a draft that does not fit beside the model, with its size and the flag to leave out", () => {
  const large = { ...draft, weightBytes: 8 * gib };
  expect(() => planMemory({ ...input, draft: large })).toThrow(
    "The weights need 257 MiB, and those of the draft 8.00 GiB; 8.00 GiB of memory are free. Free memory, or take a " +
      "model quantised to fewer bits (`millrace quantize`), or without --spec-model.",
  );
  const tight = { ...draft, weightBytes: 8 * gib - 300 * mib };
  expect(() => planMemory({ ...input, draft: tight })).toThrow(
    "Weights of 257 MiB, 7.71 GiB of the draft, activations of 100 MiB and at least one KV block must fit",
  );
  const some = { ...input, draft, freeBytes: 600 * mib, askedMaxModelLen: 8192 };
  expect(() => planMemory(some)).toThrow(
    "A context of 8,192 tokens needs 240 MiB of KV cache, the draft's included; 217 MiB of memory are left for it.",
  );
});

test("counts whole blocks of the host tier", () => {
  const plan = planMemory({ ...input, swapSpaceBytes: gib, utilization: 0.5 });
  expect(plan.numHostBlocks).toBe(1456);
  expect(plan.lines[0]).toBe(
    "Memory plan: --memory-utilization 0.5 allows 4.00 GiB of the 8.00 GiB of memory that are free",
  );
  expect(plan.lines[4]).toBe("  host tier    1024 MiB  1,456 blocks, 46,592 tokens of preempted sequences");
});

test("never plans more than is free or allowed, whatever is asked; refusals name what to do", () => {
  const size = fc.nat({ max: 4 * gib });
  fc.assert(
    fc.property(
      fc.record({
        freeBytes: size,
        weightBytes: size,
        rotationBytes: fc.constant(0),
        activationBytes: fc.nat({ max: gib }),
        swapSpaceBytes: fc.oneof(fc.constant(0), size),
        utilization: fc.option(fc.double({ min: 0.01, max: 1, noNaN: true })),
        kvCacheMemoryBytes: fc.option(size),
        askedMaxModelLen: fc.oneof(
          fc.constant(null),
          fc.constant("auto" as const),
          fc.integer({ min: 1, max: 8192 }),
        ),
        maxNumSeqs: fc.integer({ min: 1, max: 256 }),
        draft: fc.option(
          fc.record({ shape: fc.constant(draft.shape), weightBytes: size, activationBytes: size }),
        ),
        dtype: fc.constantFrom("f32", "f16", "int8"),
      }),
      (some) => {
        const asked = { ...input, ...some };
        try {
          const plan = planMemory(asked);
          const budget = Math.floor(asked.freeBytes * (asked.utilization ?? 1));
          expect(plan.totalBytes).toBeLessThanOrEqual(budget);
          expect(plan.kv.numBlocks * 32).toBeGreaterThanOrEqual(plan.kv.maxModelLen);
          expect(plan.kv.maxModelLen).toBeGreaterThan(0);
          if (typeof asked.askedMaxModelLen === "number") {
            expect(plan.kv.maxModelLen).toBe(asked.askedMaxModelLen);
          }
        } catch (error) {
          if (!isMillraceError(error)) throw error;
          expect(["out_of_memory", "invalid_option"]).toContain(error.code);
          expect(error.message).toMatch(/(Give|Start with|Leave|Free memory|Take fewer)[^.]*(\.\d[^.]*)*\.$/);
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test("refuses weights, then steps, then swap space that do not fit, with the numbers", () => {
  expect(() => planMemory({ ...input, weightBytes: 9 * gib })).toThrow(
    "The weights need 9.00 GiB; 8.00 GiB of memory are free. Free memory, or take a model quantised to fewer bits",
  );
  expect(() => planMemory({ ...input, weightBytes: 9 * gib, weightDtype: "float32" })).toThrow(
    "start with --dtype auto",
  );
  expect(() => planMemory({ ...input, activationBytes: 8 * gib })).toThrow(
    "Weights of 257 MiB, activations of 8.00 GiB and at least one KV block must fit; 8.00 GiB of memory are free. " +
      "Start with a smaller --max-num-batched-tokens than 2048, or free memory.",
  );
  expect(() => planMemory({ ...input, swapSpaceBytes: 7 * gib, utilization: 0.5 })).toThrow(
    "7.00 GiB of --swap-space and at least one KV block must fit; --memory-utilization 0.5 allows 4.00 GiB of the 8.00 GiB " +
      "of memory that are free. Start with a smaller --max-num-batched-tokens than 2048, or a smaller --swap-space",
  );
});

test("refuses two flags for one thing, and a swap space below a block", () => {
  expect(() => planMemory({ ...input, utilization: 0.8, kvCacheMemoryBytes: gib })).toThrow(
    "--memory-utilization 0.8 and --kv-cache-memory-bytes 1.00 GiB both size the KV cache; only one of them may. Leave one out.",
  );
  expect(() => planMemory({ ...input, swapSpaceBytes: 4 })).toThrow(
    "--swap-space is 4 B; a KV block of this model takes 720 KiB, and at least one must fit. Give a size such as 1GiB",
  );
});
