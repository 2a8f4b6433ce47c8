import { afterEach, expect, test } from "vitest";
import { openCheckpoint } from "../../formats/open-checkpoint.ts";
import type { Ops } from "../../kernels/ops.ts";
import { createReferenceOps } from "../../kernels/reference/reference-ops.ts";
import { loadModel } from "../../model/load-model.ts";
import { profileSteps } from "../profile/profile-step.ts";
import { createStepPlanner } from "./step-work.ts";

const modelPath = new URL("../../../models/pebble/model", import.meta.url).pathname;
const precision = { dtype: "auto", activations: "auto" } as const;

let ops: Ops | undefined;
afterEach(() => ops?.close());

test("a planned step has the operations of a real one", () => {
  const checkpoint = openCheckpoint(modelPath);
  const shapes = [
    { label: "decode", numSequences: 3, numTokens: 1, contextLength: 40 },
    { label: "prefill", numSequences: 2, numTokens: 7, contextLength: 7 },
  ];
  ops = createReferenceOps({ numThreads: 1 });
  const real = profileSteps({
    ops,
    ceilings: {
      readBytes: 1e9,
      int8Operations: 1e9,
      int4Operations: 1e9,
      bf16Operations: 1e9,
      f32Operations: 1e9,
    },
    shapes,
    numRepeats: 1,
    load: (profiled) => ({
      model: loadModel(profiled, checkpoint, { ...precision, maxModelLen: 64 }).model,
      kvDtype: "f16",
    }),
  });
  const planner = createStepPlanner(checkpoint, precision, "f16");
  for (const [index, shape] of shapes.entries()) {
    const work = planner.workOf(shape);
    expect(work.length).toBe(real[index]!.numOperations);
    for (const { kind, count, operations } of real[index]!.kinds.slice(0, -1)) {
      const same = work.filter((operation) => operation.kind === kind);
      expect(same.length, kind).toBe(count);
      expect(
        same.reduce((sum, operation) => sum + operation.operations, 0),
        kind,
      ).toBe(operations);
    }
  }
  checkpoint.close();
});
