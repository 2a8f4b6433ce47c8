import { readdirSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import type { WeightForm } from "../../src/base/weights.ts";
import { DummyWeights } from "../../src/engine/plan/dummy-weights.ts";
import { timeSteps } from "../../src/engine/plan/time-steps.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { nativeStatus } from "../../src/kernels/create-ops.ts";
import type { Ops } from "../../src/kernels/ops.ts";
import type { PrecisionOptions } from "../../src/model/causal-model.ts";
import { loadModel } from "../../src/model/load-model.ts";
import { planModel } from "../../src/model/plan-model.ts";
import { takenForm } from "../../src/model/weight-loader.ts";
import { describeWithData, hasTestData, testData } from "../test-data.ts";
import { backends } from "./backends.ts";
import { openModel } from "./model-runs.ts";

const native = backends.find(({ isNative, isAvailable }) => isNative && isAvailable);
const modelsIn = (folder: string): string[] =>
  hasTestData
    ? readdirSync(testData("models", folder))
        .filter((name) => !name.endsWith(".json") && !name.endsWith(".md"))
        .map((name) => testData("models", folder, name))
    : [];
const models = [
  ...modelsIn("tiny"),
  ...modelsIn("gguf"),
  ...modelsIn("compressed-tensors"),
  ...(hasTestData ? [testData("models", "smollm2-135m-instruct-q4_1.gguf")] : []),
];
const precisions: readonly PrecisionOptions[] = [
  { dtype: "auto", activations: "auto" },
  { dtype: "bfloat16", activations: "auto" },
  { dtype: "auto", activations: "f32" },
];

let ops: Ops | undefined;
afterEach(() => ops?.close());

describeWithData("a model planned from headers", () => {
  test.skipIf(!nativeStatus().available).each(models)(
    "%s has the forms, bytes and notes that it has once it is loaded",
    (path) => {
      for (const precision of precisions) {
        ops = native!.create();
        const loaded = openModel(ops, path, precision, 24);
        const checkpoint = openCheckpoint(path);
        const planned = planModel(checkpoint, precision);
        checkpoint.close();
        expect(planned.dtype).toBe(loaded.dtype);
        expect(planned.activations).toBe(loaded.activations);
        expect(planned.notes).toEqual(loaded.notes);
        expect(planned.model.kvShape).toEqual(loaded.model.kvShape);
        const weightBytes = planned.ops.weightBytes + 24 * planned.ops.rotationBytesPerPosition;
        expect(weightBytes).toBe(ops.memory().weights);
        ops.close();
      }
    },
  );

  test.skipIf(!nativeStatus().available).each(models)(
    "%s has the forms and bytes of its weights with dummy ones",
    (path) => {
      const checkpoint = openCheckpoint(path);
      const { numLayers } = checkpoint.config;
      for (const { dtype, activations } of precisions) {
        const planned = planModel(checkpoint, { dtype, activations });
        ops = native!.create();
        const weights = new DummyWeights(checkpoint, { numLayers, recast: (form) => takenForm(form, dtype) });
        const loaded = loadModel(ops, weights, { dtype: "auto", activations, maxModelLen: 24 });
        expect(loaded.dtype).toBe(planned.dtype);
        expect(loaded.activations).toBe(planned.activations);
        const weightBytes = planned.ops.weightBytes + 24 * planned.ops.rotationBytesPerPosition;
        expect(ops.memory().weights).toBe(weightBytes);
        ops.close();
      }
      checkpoint.close();
    },
  );

  test.skipIf(!nativeStatus().available).each(models)("%s runs steps with dummy weights", (path) => {
    const checkpoint = openCheckpoint(path);
    const createOps = (): Ops => native!.create();
    const parts = { checkpoint, createOps, freeBytes: 4 * 1024 ** 3 };
    const steps = [
      { isDecode: true, numSequences: 3, numTokens: 1, contextLength: 9 },
      { isDecode: false, numSequences: 2, numTokens: 7, contextLength: 7 },
    ];
    const limits = { leastSeconds: 0, deadline: Number.POSITIVE_INFINITY, isRequired: true };
    for (const { dtype, activations } of precisions) {
      const { linears } = planModel(checkpoint, { dtype, activations });
      const recast = (form: WeightForm): WeightForm => takenForm(form, dtype);
      const model = { linears, recast, activations, kvDtype: "f16", blockSize: 32 } as const;
      const timings = timeSteps(parts, model, steps, limits)!;
      for (const { seconds } of timings) expect(seconds).toBeGreaterThan(0);
    }
    checkpoint.close();
  });
});
