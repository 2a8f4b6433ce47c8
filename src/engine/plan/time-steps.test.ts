import { expect, test } from "vitest";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { openCheckpoint } from "../../formats/open-checkpoint.ts";
import { createOps } from "../../kernels/create-ops.ts";
import type { Ops } from "../../kernels/ops.ts";
import { createReferenceOps } from "../../kernels/reference/reference-ops.ts";
import { planModel } from "../../model/plan-model.ts";
import { precisions } from "./precisions.ts";
import { type TimedModel, timeSteps } from "./time-steps.ts";

const modelPath = new URL("../../../models/pebble/model", import.meta.url).pathname;
const steps = [
  { isDecode: true, numSequences: 2, numTokens: 1, contextLength: 40 },
  { isDecode: false, numSequences: 1, numTokens: 3, contextLength: 35 },
];
const limits = { leastSeconds: 0, deadline: Number.POSITIVE_INFINITY, isRequired: true };

function modelAs(checkpoint: Checkpoint, name: string, blockSize = 32): TimedModel {
  const { recast } = precisions.find((precision) => precision.name === name)!;
  const { linears } = planModel(checkpoint, { dtype: "auto", activations: "auto", recast });
  return { linears, recast, activations: "auto", kvDtype: "f16", blockSize };
}

/** Counts what its kernels were asked for. */
function countingOps(): {
  readonly ops: Ops;
  readonly numLinears: () => number;
  readonly isClosed: () => boolean;
} {
  const ops = createReferenceOps({ numThreads: 1 });
  let numLinears = 0;
  let isClosed = false;
  const linear = ops.linear.bind(ops);
  const close = ops.close.bind(ops);
  ops.linear = (...args: Parameters<typeof linear>) => {
    numLinears += 1;
    return linear(...args);
  };
  ops.close = () => {
    isClosed = true;
    close();
  };
  return { ops, numLinears: () => numLinears, isClosed: () => isClosed };
}

test("steps of a model run in each precision, and their kernels are closed", { timeout: 120_000 }, () => {
  const checkpoint = openCheckpoint(modelPath);
  for (const name of ["w8a8", "q4_0"]) {
    const counted = countingOps();
    const parts = { checkpoint, createOps: () => counted.ops, freeBytes: 1024 ** 3 };
    const timings = timeSteps(parts, modelAs(checkpoint, name), steps, limits)!;
    expect(timings).toHaveLength(steps.length);
    for (const { seconds } of timings) expect(seconds).toBeGreaterThan(0);
    expect(timings[0]!.numSamples).toBeGreaterThanOrEqual(3);
    // Four layers of four linears and the head: a first step of each, three rows of decode and a prefill.
    expect(counted.numLinears()).toBeGreaterThanOrEqual(6 * 17);
    expect(counted.isClosed()).toBe(true);
  }
  checkpoint.close();
});

test("contexts may be shorter than a block of the cache, of any size", { timeout: 60_000 }, () => {
  const checkpoint = openCheckpoint(modelPath);
  const create = (): Ops => createOps({ numThreads: 1, backend: "auto" }).ops;
  const step = { isDecode: true, numSequences: 3, numTokens: 1, contextLength: 9 };
  for (const blockSize of [7, 32, 256]) {
    const parts = { checkpoint, createOps: create, freeBytes: 1024 ** 3 };
    const timings = timeSteps(parts, modelAs(checkpoint, "q8_0", blockSize), [step], limits)!;
    expect(timings[0]!.seconds).toBeGreaterThan(0);
  }
  checkpoint.close();
});

test("no step is timed where one layer would take more than half of the free memory", () => {
  const checkpoint = openCheckpoint(modelPath);
  const create = (): Ops => {
    throw new Error("kernels were asked for");
  };
  const parts = { checkpoint, createOps: create, freeBytes: 1024 ** 2 };
  expect(timeSteps(parts, modelAs(checkpoint, "f32"), steps, limits)).toBeNull();
  checkpoint.close();
});
