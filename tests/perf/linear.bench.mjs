// Speed of the linear kernels beside what the machine can do at most. Needs `npm run build` and `npm run build:native`.
// Usage: node tests/perf/linear.bench.mjs [--threads 1,2] [--isa avx2] [--form int4] [--rows 1,32]
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createOps, nativeStatus } from "../../dist/kernels/create-ops.js";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values: flags } = parseArgs({
  options: {
    threads: { type: "string" },
    isa: { type: "string" },
    form: { type: "string", default: "" },
    rows: { type: "string", default: "1,8,32,128" },
  },
});

/** Copies of a weight are used in turn until they exceed the caches, as the layers of a model do. */
const bytesInTurn = 96 * 2 ** 20;
const rounds = 5;
/** Multiplications per round are held near this, so that large batches do not take minutes. */
const operationsPerRound = 4e9;

const shapes = [
  { name: "qkv 576x960", cols: 576, rows: 960 },
  { name: "gate+up 576x3072", cols: 576, rows: 3072, isPaired: true },
  { name: "down 1536x576", cols: 1536, rows: 576 },
  { name: "head 576x49152", cols: 576, rows: 49152 },
];
const forms = [
  { name: "int8 channel, int8-token", bits: 8, form: "int8-token" },
  { name: "int8 g32, int8-block32", bits: 8, group: 32, form: "int8-block32" },
  { name: "int4 g32, int8-block32", bits: 4, group: 32, form: "int8-block32" },
  { name: "bf16, bf16", dtype: "bf16", form: "bf16" },
];

function makeWeight(form, rows, cols) {
  if (form.dtype !== undefined) {
    const data = new Uint8Array(new Uint16Array(rows * cols).fill(0x3c00).buffer);
    return { kind: "dense", rows, cols, dtype: form.dtype, data };
  }
  const groupSize = form.group ?? cols;
  const codes = Uint8Array.from({ length: (rows * cols * form.bits) / 8 }, (_, i) => (i * 37) & 255);
  const scales = new Float32Array((rows * cols) / groupSize).fill(2 ** -7);
  return { kind: "integer", rows, cols, bits: form.bits, groupSize, codes, scales, minimums: null };
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

function measureCeilings(threads) {
  const program = path.join(root, "build", "perf", "ceiling");
  mkdirSync(path.dirname(program), { recursive: true });
  const source = path.join(root, "tests", "perf", "ceiling.cc");
  const built = spawnSync("g++", ["-std=c++20", "-O2", "-march=native", "-pthread", source, "-o", program]);
  if (built.status !== 0) throw new Error(`ceiling.cc does not compile:\n${built.stderr}`);
  return spawnSync(program, [String(threads)], { encoding: "utf8" })
    .stdout.trim()
    .split(" ")
    .map(Number);
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Median seconds of one linear. */
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
  return median(times);
}

function benchShape(ops, form, shape, rowCounts) {
  const weight = makeWeight(form, shape.isPaired ? shape.rows / 2 : shape.rows, shape.cols);
  const parts = shape.isPaired ? [weight, weight] : [weight];
  const options = { name: "w", inputForm: form.form, layout: shape.isPaired ? "paired" : "rows" };
  const weights = [];
  for (let bytes = 0; bytes < bytesInTurn; bytes += weights.at(-1).sizeBytes) {
    weights.push(ops.packLinear(parts, options));
  }
  const values = Float32Array.from({ length: 512 * shape.cols }, (_, i) => Math.sin(i));
  const data = new Uint8Array(values.buffer);
  const input = { kind: "dense", rows: 512, cols: shape.cols, dtype: "f32", data };
  const table = ops.packLinear([input], { name: "x", inputForm: "f32" });
  const run = { table, weights, form, isPaired: shape.isPaired === true };
  const cells = rowCounts.map((numRows) => {
    const seconds = timeLinear(ops, run, numRows);
    const gigabytes = weights[0].sizeBytes / seconds / 1e9;
    const gigaOps = (2 * numRows * shape.rows * shape.cols) / seconds / 1e9;
    return `${gigabytes.toFixed(1).padStart(5)} ${gigaOps.toFixed(0).padStart(5)}`;
  });
  console.log(`${form.name.padEnd(25)} ${shape.name.padEnd(17)} ${cells.join("  | ")}`);
}

const status = nativeStatus();
if (!status.available) throw new Error(`The native kernels are not available: ${status.reason}`);
const isa = flags.isa ?? status.isas[0];
const threadCounts = (flags.threads ?? `1,${status.numThreads}`).split(",").map(Number);
const rowCounts = flags.rows.split(",").map(Number);
for (const numThreads of new Set(threadCounts)) {
  const [memory, products] = measureCeilings(numThreads);
  const ceilings = `memory ${memory} GB/s${products > 0 ? `, int8 VNNI ${products} GOP/s` : ""}`;
  console.log(`\n${isa}, ${numThreads} threads. At most: ${ceilings}. Cells: GB/s of weights, GOP/s.`);
  console.log(`${"".padEnd(44)}${rowCounts.map((r) => `${r} rows`.padStart(11)).join("  | ")}`);
  for (const form of forms.filter(({ name }) => name.includes(flags.form))) {
    for (const shape of shapes) {
      const { ops } = createOps({ backend: "native", isa, numThreads });
      benchShape(ops, form, shape, rowCounts);
      ops.close();
    }
  }
}
