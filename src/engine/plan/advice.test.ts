import { expect, test } from "vitest";
import { adviseFlags } from "./advice.ts";
import type { ModelPlan, ModelPlanInput } from "./model-plan.ts";

const gib = 1024 ** 3;
const load = { inputTokens: 128, outputTokens: 64, ttftMs: 1, itlMs: 1 };
const precision = (name: string, sizeGib: number, speeds: number[]): ModelPlan["precisions"][number] => ({
  name,
  from: `--as ${name}`,
  weightBytes: sizeGib * gib,
  outputTokensPerSecond: speeds,
});
const plan = {
  memory: null,
  fault: null,
  processBytes: null,
  freeBytes: 10 * gib,
  weightBytes: 4 * gib,
  kvDtype: "f16",
  kvBytesPerToken: 1,
  kvNeeds: [{ concurrency: 4, contextTokens: 4096, sizeBytes: gib, fits: true }],
  linears: [],
  notes: [],
  loads: [
    { ...load, concurrency: 1, outputTokensPerSecond: 10 },
    { ...load, concurrency: 32, outputTokensPerSecond: 100 },
  ],
  precisions: [
    precision("f32", 16, [5, 60]),
    precision("bf16", 8, [10, 100]),
    precision("w8a8", 4, [14, 130]),
    precision("q4_0", 2, [30, 110]),
  ],
} as const satisfies Omit<ModelPlan, "advice">;
const input = { contextTokens: 4096, options: { kvCacheMemoryBytes: null } } as ModelPlanInput;
const withKv = (sizeBytes: number, fits: boolean, totalBytes = 8 * gib): Omit<ModelPlan, "advice"> => ({
  ...plan,
  memory: { freeBytes: 10 * gib, totalBytes, kv: { sizeBytes } } as unknown as ModelPlan["memory"],
  kvNeeds: [{ concurrency: 4, contextTokens: 4096, sizeBytes: 3 * gib, fits }],
});

test("names the precision that is fastest at few and at many in flight", () => {
  expect(adviseFlags(plan, input)).toEqual([
    "As q4_0, by --as q4_0: 3.0 times as fast at 1 in flight.",
    "As w8a8, by --as w8a8: 1.3 times as fast at 32 in flight.",
  ]);
  expect(adviseFlags({ ...plan, loads: [] }, input)).toEqual([]);
});

test("names a precision that fits where the weights do not", () => {
  const [first] = adviseFlags({ ...plan, weightBytes: 16 * gib }, input);
  expect(first).toBe("Weights of 4.00 GiB would fit: --as w8a8.");
});

test("gives the cache what sequences need where it is there, and takes narrower numbers where it is not", () => {
  expect(adviseFlags(withKv(2 * gib, false), input)[0]).toBe(
    "4 sequences of 4,096 tokens need 3.00 GiB of KV cache: --kv-cache-memory-bytes 3072MiB --max-model-len 4096.",
  );
  expect(adviseFlags(withKv(gib, false, 9 * gib), input)[0]).toBe(
    "4 sequences of 4,096 tokens need 3.00 GiB of KV cache, which is not there; --kv-cache-dtype int8 halves it from f16.",
  );
  const narrow = { ...withKv(gib, false, 9 * gib), kvDtype: "int8" } as const;
  expect(adviseFlags(narrow, input)[0]).toMatch(/fewer sequences or a shorter context/);
});

test("gives back a cache of which little is needed, if a context was asked for", () => {
  expect(adviseFlags(withKv(13 * gib, true), input)[0]).toMatch(/more than four times.*3072MiB/);
  expect(adviseFlags(withKv(13 * gib, true), { ...input, contextTokens: null })[0]).toMatch(/^As q4_0/);
});
