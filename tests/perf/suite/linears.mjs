// Speed of the linear kernels beside what the machine can do at most.
import { secondsAtCeilings } from "../../../dist/kernels/ceilings.js";
import { createOps } from "../../../dist/kernels/create-ops.js";
import { higherOf } from "./ceiling-watch.mjs";

/** Copies of a weight are used in turn until they exceed the caches, as the layers of a model do. */
const bytesInTurn = 96 * 2 ** 20;
/** Kernels and ceilings take turns, so that both meet what else the machine does at the time. */
const passes = 5;
const rounds = 3;
/** Operations per round are held near this: short rounds, so that some are left alone by whatever else runs. */
const operationsPerRound = 1e9;

const shapes = [
  { name: "qkv 576x960", cols: 576, rows: 960 },
  { name: "gate+up 576x3072", cols: 576, rows: 3072, isPaired: true },
  { name: "down 1536x576", cols: 1536, rows: 576 },
  { name: "head 576x49152", cols: 576, rows: 49152 },
  { name: "gate+up 2048x16384", cols: 2048, rows: 16384, isPaired: true },
  { name: "down 8192x2048", cols: 8192, rows: 2048 },
];
const forms = [
  { name: "int8 channel, int8-token", bits: 8, form: "int8-token" },
  { name: "int8 g32, int8-block32", bits: 8, group: 32, form: "int8-block32" },
  { name: "int4 g32, int8-block32", bits: 4, group: 32, form: "int8-block32" },
  { name: "int4 g32 + min, int8-block32", bits: 4, group: 32, form: "int8-block32", hasMinimums: true },
  { name: "bf16, bf16", dtype: "bf16", form: "bf16" },
  { name: "bf16, f32", dtype: "bf16", form: "f32" },
  { name: "f32, f32", dtype: "f32", form: "f32" },
];

function makeWeight(form, rows, cols) {
  if (form.dtype !== undefined) {
    const values = form.dtype === "f32" ? new Float32Array(rows * cols).fill(2 ** -7) : undefined;
    const data = new Uint8Array((values ?? new Uint16Array(rows * cols).fill(0x3c00)).buffer);
    return { kind: "dense", rows, cols, dtype: form.dtype, data };
  }
  const groupSize = form.group ?? cols;
  const codes = Uint8Array.from({ length: (rows * cols * form.bits) / 8 }, (_, i) => (i * 37) & 255);
  const scales = new Float32Array((rows * cols) / groupSize).fill(2 ** -7);
  const minimums = form.hasMinimums ? scales.map((scale) => -8 * scale) : null;
  return { kind: "integer", rows, cols, bits: form.bits, groupSize, codes, scales, minimums };
}

function batchOf(numTokens) {
  const each = Int32Array.from({ length: numTokens }, (_, i) => i);
  return {
    numTokens,
    numSeqs: 1,
    tokenIds: each,
    positions: each,
    slots: each,
    queryStarts: Int32Array.of(0, numTokens),
    contextLengths: Int32Array.of(numTokens),
    blockTables: new Int32Array(4),
    blockTableStride: 4,
  };
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

const rangeOf = (values) => ({
  median: median(values),
  lowest: Math.min(...values),
  highest: Math.max(...values),
});

/** The seconds of one linear in each round. */
function timeLinear(ops, { table, weights, form, isPaired }, numRows) {
  const perRound = 2 * numRows * weights[0].rows * weights[0].cols;
  const count = Math.max(1, Math.min(weights.length, Math.ceil(operationsPerRound / perRound)));
  const epilogue = isPaired ? { activation: "silu-mul" } : {};
  const times = [];
  for (let round = 0; round < rounds; round += 1) {
    let seconds = 0;
    for (let done = 0; done < count; ) {
      // A new step now and then, so that outputs do not fill the memory.
      ops.beginStep(batchOf(numRows));
      const x = ops.convert(ops.embed(table), form.form);
      const start = process.hrtime.bigint();
      for (let i = 0; i < 8 && done < count; i += 1, done += 1) ops.linear(x, weights[done], epilogue);
      seconds += Number(process.hrtime.bigint() - start) / 1e9;
      ops.endStep();
    }
    times.push(seconds / count);
  }
  return times;
}

function prepare(ops, form, shape, mostRows) {
  const weight = makeWeight(form, shape.isPaired ? shape.rows / 2 : shape.rows, shape.cols);
  const parts = shape.isPaired ? [weight, weight] : [weight];
  const options = { name: "w", inputForm: form.form, layout: shape.isPaired ? "paired" : "rows" };
  const weights = [];
  for (let bytes = 0; bytes < bytesInTurn; bytes += weights.at(-1).sizeBytes) {
    weights.push(ops.packLinear(parts, options));
  }
  const values = Float32Array.from({ length: mostRows * shape.cols }, (_, i) => Math.sin(i));
  const data = new Uint8Array(values.buffer);
  const input = { kind: "dense", rows: mostRows, cols: shape.cols, dtype: "f32", data };
  const table = ops.packLinear([input], { name: "x", inputForm: "f32" });
  return { table, weights, form, isPaired: shape.isPaired === true };
}

function benchShape({ isa, numThreads, rowCounts, watch }, form, shape) {
  const { ops } = createOps({ backend: "native", isa, numThreads });
  const run = prepare(ops, form, shape, Math.max(...rowCounts));
  const unit = form.bits === undefined ? form.form : form.bits === 4 ? "int4" : "int8";
  const results = rowCounts.map((numRows) => ({
    form: form.name,
    shape: shape.name,
    numRows,
    bytes: run.weights[0].sizeBytes,
    operations: 2 * numRows * shape.rows * shape.cols,
    unit,
    times: [],
    shares: [],
  }));
  for (let pass = 0; pass < passes; pass += 1) {
    const before = watch.latest();
    const times = results.map(({ numRows }) => timeLinear(ops, run, numRows));
    const ceilings = higherOf(before, watch.measure());
    for (const [i, result] of results.entries()) {
      result.times.push(...times[i]);
      result.shares.push(secondsAtCeilings(result, ceilings) / Math.min(...times[i]));
    }
  }
  ops.close();
  return results.map(({ times, shares, ...result }) => ({
    ...result,
    seconds: rangeOf(times),
    roofline: rangeOf(shares),
  }));
}

/**
 * Every form at every shape and number of rows: seconds, and the share of the roofline in each pass: its fastest round
 * beside the higher ones of the ceilings that were measured right before and right after the pass.
 */
export function benchLinears({ filter, ...settings }) {
  const chosen = forms.filter(({ name }) => name.includes(filter));
  return chosen.flatMap((form) => shapes.flatMap((shape) => benchShape(settings, form, shape)));
}
