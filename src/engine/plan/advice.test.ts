import { expect, test } from "vitest";
import { adviseKv, adviseSpeed, adviseWeights, type KvAdviceInput, type SpeedAdviceInput } from "./advice.ts";
import type { PredictedLoad } from "./predict-load.ts";

const gib = 1024 ** 3;
const load = (
  concurrency: number,
  outputTokensPerSecond: number,
  spread: number | null = 0.05,
): PredictedLoad => ({
  inputTokens: 128,
  outputTokens: 64,
  concurrency,
  numRunning: concurrency,
  outputTokensPerSecond,
  outputTokensPerSecondEach: outputTokensPerSecond / concurrency,
  itlMs: 1,
  ttftAloneMs: 1,
  ttftLastMs: 1,
  servingShare: 0.1,
  spread,
});
const precision = (name: "f32" | "bf16" | "w8a8" | "q4_0", few: number, many: number) => ({
  name,
  isNow: false,
  isFlagOnly: name === "f32" || name === "bf16",
  command: `make ${name}`,
  loads: [load(1, few), load(32, many)],
});
const speed: SpeedAdviceInput = {
  modelPath: "./model",
  loads: [load(1, 10), load(32, 100)],
  doubts: [],
  precisions: [precision("f32", 5, 60), precision("w8a8", 14, 130), precision("q4_0", 30, 110)],
};

test("names the precision that is fastest at few and at many in flight, and what 4 bits cost", () => {
  expect(adviseSpeed(speed)).toEqual([
    "As q4_0: 3.0 times as fast at 1 in flight; `make q4_0`. 4 bits lose accuracy: measure it with " +
      "`millrace diff ./model OUT --text FILE`.",
    "As w8a8: 1.3 times as fast at 32 in flight; `make w8a8`.",
  ]);
});

test("names the best that a flag alone makes too", () => {
  const advice = adviseSpeed({ ...speed, precisions: [...speed.precisions, precision("bf16", 13, 100)] });
  expect(advice).toHaveLength(3);
  expect(advice[2]).toBe("As bf16: 1.3 times as fast at 1 in flight; `make bf16`.");
});

test("says nothing of speed where figures are in doubt, and trusts no unsteady row", () => {
  expect(adviseSpeed({ ...speed, doubts: ["equal steps differed by 80 %"] })).toEqual([]);
  expect(adviseSpeed({ ...speed, loads: [] })).toEqual([]);
  const unsteady = { ...precision("q4_0", 30, 300), loads: [load(1, 30, 0.5), load(32, 300, null)] };
  expect(adviseSpeed({ ...speed, precisions: [unsteady] })).toEqual([]);
});

test("names a precision that fits where the weights do not, or that none does", () => {
  const precisions = [
    { name: "bf16", weightBytes: 8 * gib, command: "make bf16" },
    { name: "w8a8", weightBytes: 4 * gib, command: "make w8a8" },
  ] as const;
  const input = { weightBytes: 16 * gib, precisions };
  expect(adviseWeights({ ...input, budgetBytes: 9 * gib })).toEqual([
    "As w8a8 the weights would take 4.00 GiB: `make w8a8`.",
  ]);
  expect(adviseWeights({ ...input, budgetBytes: 2 * gib })[0]).toMatch(
    /^No precision fits well into 2\.00 GiB/,
  );
  expect(adviseWeights({ ...input, budgetBytes: 100 * gib })).toEqual([]);
});

/** SmolLM2-135M: 0.70 MiB of f16 in a block. */
const shape = { numLayers: 30, numKvHeads: 3, headDim: 64 };
const blockBytes = 2 * 30 * 3 * 64 * 32 * 2;
const kvInput = (numBlocks: number, spareBlocks: number, concurrency: number): KvAdviceInput => ({
  engine: {
    freeBytes: 10 * gib,
    totalBytes: 10 * gib - spareBlocks * blockBytes,
    kv: { numBlocks, sizeBytes: numBlocks * blockBytes, draftBytes: 0, maxModelLen: 8192, contents: "" },
    shape,
    draft: null,
  },
  need: {
    concurrency,
    contextTokens: 320,
    numBlocks: 10 * concurrency,
    sizeBytes: 10 * concurrency * blockBytes,
    numRunning: 1,
    limit: "cache holds few blocks",
  },
  kvDtype: "f16",
  blockSize: 32,
  options: { maxNumSeqs: 128, maxNumBatchedTokens: 512, kvCacheMemoryBytes: null },
  isContextAsked: true,
});

test("gives the cache what sequences need where it is there, with every flag that this takes", () => {
  expect(adviseKv(kvInput(20, 200, 16))).toEqual([
    "16 sequences of 320 tokens need 113 MiB of KV cache: --kv-cache-memory-bytes 113MiB --max-model-len 320.",
  ]);
  expect(adviseKv(kvInput(9000, 0, 600))).toEqual([
    "600 sequences of 320 tokens are computed at once with --max-num-seqs 600 --max-num-batched-tokens 600.",
  ]);
  const shared = kvInput(20, 200, 16);
  expect(adviseKv({ ...shared, options: { ...shared.options, memoryUtilization: 0.5 } })[0]).toMatch(
    /: --memory-utilization 0\.\d\d|1\.00 /,
  );
});

test("offers int8 only where it fits then, else says how many would", () => {
  expect(adviseKv(kvInput(20, 80, 16))[0]).toMatch(
    /^16 sequences of 320 tokens need 113 MiB of KV cache, and 59\.8 MiB in int8: --kv-cache-dtype int8 --kv-cache-memory-bytes 60MiB/,
  );
  expect(adviseKv(kvInput(20, 20, 16))).toEqual([
    "16 sequences of 320 tokens need 113 MiB of KV cache, which is not there; at most 4 would fit, 7 with --kv-cache-dtype int8.",
  ]);
  expect(adviseKv({ ...kvInput(20, 20, 16), kvDtype: "f32" })[0]).toMatch(/at most 2 would fit, 7 with/);
});

test("gives back a cache of which little is needed, if a context was asked for", () => {
  const wide = kvInput(9000, 0, 16);
  const fitting = { ...wide, need: { ...wide.need, limit: null } };
  expect(adviseKv(fitting)[0]).toMatch(/more than four times.*--kv-cache-memory-bytes 113MiB/);
  expect(adviseKv({ ...fitting, isContextAsked: false })).toEqual([]);
});
