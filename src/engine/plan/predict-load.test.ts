import { expect, test } from "vitest";
import type { OperationWork } from "../../kernels/profiled-ops.ts";
import type { StepShape } from "../profile/step-batch.ts";
import { predictLoad } from "./predict-load.ts";
import { stepCosts as costsOfSets, stepSeconds } from "./step-time.ts";
import type { StepPlanner } from "./step-work.ts";

const ceilings = {
  readBytes: 1e10,
  int8Operations: 1e12,
  int4Operations: 2e12,
  bf16Operations: 1e11,
  f32Operations: 1e11,
};
const stepCosts = costsOfSets.avx2;
const speed = { ceilings, costs: stepCosts };
const linear: OperationWork = {
  kind: "up_proj",
  bytes: 1e8,
  operations: 1,
  unit: "int8",
  products: "int8 blocks",
  numRows: 1,
  numElements: 1,
};

test("an operation takes at least the longer of its reading and its multiplying", () => {
  const read = stepSeconds([linear], speed);
  // At least what the ceiling allows, at most twice.
  expect(read).toBeGreaterThan(0.01);
  expect(read).toBeLessThan(0.02);
  const products = { ...linear, numRows: 128, operations: 1e11 };
  const multiplied = stepSeconds([products], speed);
  expect(multiplied).toBeGreaterThan(0.1);
  expect(multiplied).toBeLessThan(0.3);
  expect(stepSeconds([{ ...products, unit: "int4", products: "int4" }], speed)).toBeLessThan(multiplied);
  expect(stepSeconds([linear, products], speed)).toBeCloseTo(read + multiplied, 10);
});

test("reading and multiplying hide each other where one is much longer, and add to each other where they are alike", () => {
  const seconds = (bytes: number, operations: number): number =>
    stepSeconds([{ ...linear, bytes, operations }], speed);
  const idle = seconds(0, 1);
  const reading = seconds(1e8, 1) - idle;
  // As many products as take as long.
  const products = (reading / (seconds(0, 1e10) - idle)) * 1e10;
  expect((seconds(1e8, products) - idle) / reading).toBeCloseTo(2 ** (1 / 3), 3);
  expect((seconds(1e8, products / 4) - idle) / reading).toBeLessThan(1.01);
});

test("a weight is unpacked once, however many rows it multiplies", () => {
  const rows = (numRows: number): number =>
    stepSeconds([{ ...linear, products: "int8 rows", bytes: 0, numRows, operations: numRows * 1e9 }], speed);
  const perRow = (rows(64) - rows(32)) / 32;
  expect((rows(2) - rows(1)) / perRow).toBeCloseTo(1, 6);
  // The first row pays for the unpacking beside what each further one costs.
  const costs = stepCosts.weights["int8 rows"];
  const first = (rows(1) - stepCosts.linearSeconds) / perRow;
  expect(first).toBeCloseTo((costs.unpack + costs.perRow) / costs.perRow, 6);
});

test("attention costs by what it reads of the cache and by its products", () => {
  const attention = { ...linear, kind: "pagedAttention", unit: "f32", bytes: 1e6, operations: 1e9 } as const;
  const once = stepSeconds([attention], speed);
  expect(stepSeconds([{ ...attention, operations: 2e9 }], speed)).toBeGreaterThan(1.8 * once);
  expect(stepSeconds([{ ...attention, bytes: 1e9 }], speed)).toBeGreaterThan(2 * once);
});

/** Notes the steps that are asked for; each has one operation of a second. */
function recorder(): { readonly planner: StepPlanner; readonly shapes: Omit<StepShape, "label">[] } {
  const shapes: Omit<StepShape, "label">[] = [];
  const second = { ...linear, bytes: stepCosts.readShare * ceilings.readBytes, operations: 1 };
  const workOf = ({ label: _label, ...shape }: StepShape): readonly OperationWork[] => {
    shapes.push(shape);
    return [second];
  };
  return { planner: { workOf } as StepPlanner, shapes };
}

test("prompts share steps as far as they fit, a long one is cut, and decode is counted once for each token", () => {
  const { planner, shapes } = recorder();
  const load = { inputTokens: 100, outputTokens: 11, concurrency: 5 };
  const found = predictLoad({ planner, speed, maxNumBatchedTokens: 256, maxNumSeqs: 8 }, load);
  const [decode, ...prefills] = shapes;
  expect(decode).toEqual({ numSequences: 5, numTokens: 1, contextLength: 106 });
  expect(prefills.slice(0, 3).map(({ numSequences }) => numSequences)).toEqual([2, 2, 1]);
  // Three steps of prefill and ten of decode, a second each.
  expect(found.outputTokensPerSecond).toBeCloseTo((5 * 11) / 13, 1);
  expect(found.itlMs / 1000).toBeCloseTo(1, 2);
  expect(found.ttftMs / 1000).toBeCloseTo(1, 1);

  shapes.length = 0;
  predictLoad({ planner, speed, maxNumBatchedTokens: 64, maxNumSeqs: 8 }, { ...load, concurrency: 1 });
  expect(shapes.slice(1, 3)).toEqual([
    { numSequences: 1, numTokens: 64, contextLength: 64 },
    { numSequences: 1, numTokens: 36, contextLength: 100 },
  ]);
});

test("what is in flight beyond the sequences of a step waits: no step grows", () => {
  const { planner, shapes } = recorder();
  const load = { inputTokens: 100, outputTokens: 11 };
  const context = { planner, speed, maxNumBatchedTokens: 256, maxNumSeqs: 2 };
  const full = predictLoad(context, { ...load, concurrency: 2 });
  const waiting = predictLoad(context, { ...load, concurrency: 32 });
  expect(Math.max(...shapes.map(({ numSequences }) => numSequences))).toBe(2);
  expect(waiting).toEqual({ ...full, concurrency: 32 });
});
