import { expect, test } from "vitest";
import { openCheckpoint } from "../../formats/open-checkpoint.ts";
import { createOps } from "../../kernels/create-ops.ts";
import type { Ops } from "../../kernels/ops.ts";
import { createReferenceOps } from "../../kernels/reference/reference-ops.ts";
import { precisions } from "./precisions.ts";
import { DummyStepTimer } from "./time-steps.ts";

const modelPath = new URL("../../../models/pebble/model", import.meta.url).pathname;
const shapes = [
  { label: "decode", numSequences: 2, numTokens: 1, contextLength: 40 },
  { label: "prefill", numSequences: 1, numTokens: 3, contextLength: 35 },
];

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
  for (const { recast } of precisions.filter(({ name }) => name === "w8a8" || name === "q4_0")) {
    const counted = countingOps();
    const timer = new DummyStepTimer({ checkpoint, createOps: () => counted.ops, freeBytes: 1024 ** 3 });
    const seconds = timer.time({ recast, activations: "auto", kvDtype: "f16", leastSeconds: 1 }, shapes)!;
    expect(seconds).toHaveLength(shapes.length);
    for (const each of seconds) expect(each).toBeGreaterThan(0);
    // Four layers of four linears and the head: in a first step of each shape, and in those of a round or more.
    expect(counted.numLinears()).toBeGreaterThanOrEqual(7 * 17);
    expect(counted.isClosed()).toBe(true);
  }
  checkpoint.close();
});

test("contexts may be shorter than a block of the cache", { timeout: 60_000 }, () => {
  const checkpoint = openCheckpoint(modelPath);
  const create = (): Ops => createOps({ numThreads: 1, backend: "auto" }).ops;
  const timer = new DummyStepTimer({ checkpoint, createOps: create, freeBytes: 1024 ** 3 });
  const model = {
    recast: precisions[3]!.recast,
    activations: "auto",
    kvDtype: "f16",
    leastSeconds: 0,
  } as const;
  const shape = { label: "decode", numSequences: 3, numTokens: 1, contextLength: 9 };
  expect(timer.time(model, [shape])![0]).toBeGreaterThan(0);
  checkpoint.close();
});

test("no step is timed where one layer would take more than half of the free memory", () => {
  const checkpoint = openCheckpoint(modelPath);
  const createOps = (): Ops => {
    throw new Error("kernels were asked for");
  };
  const timer = new DummyStepTimer({ checkpoint, createOps, freeBytes: 1024 ** 2 });
  const model = {
    recast: precisions[0]!.recast,
    activations: "auto",
    kvDtype: "f16",
    leastSeconds: 1,
  } as const;
  expect(timer.time(model, shapes)).toBeNull();
  checkpoint.close();
});
