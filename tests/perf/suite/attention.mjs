// Speed of attention, and of rotation with the cache write, beside what the machine can do at most.
import { secondsAtCeilings } from "../../../dist/kernels/ceilings.js";
import { createOps } from "../../../dist/kernels/create-ops.js";
import { higherOf } from "./ceiling-watch.mjs";

/** Best of several runs, in seconds. */
function bestTime(run, repeats = 30) {
  let best = Infinity;
  for (let i = 0; i < repeats; i += 1) {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  }
  return best / 1000;
}

const blockSize = 32;

function makeBatch(sequences) {
  const numTokens = sequences.reduce((sum, s) => sum + s.count, 0);
  const stride = Math.max(...sequences.map((s) => Math.ceil((s.start + s.count) / blockSize)));
  const batch = {
    numTokens,
    numSeqs: sequences.length,
    tokenIds: new Int32Array(numTokens),
    positions: new Int32Array(numTokens),
    slots: new Int32Array(numTokens),
    queryStarts: new Int32Array(sequences.length + 1),
    contextLengths: Int32Array.from(sequences, (s) => s.start + s.count),
    blockTables: new Int32Array(sequences.length * stride),
    blockTableStride: stride,
  };
  let token = 0;
  sequences.forEach((s, index) => {
    batch.queryStarts[index] = token;
    for (let b = 0; b < stride; b += 1) batch.blockTables[index * stride + b] = index * stride + b;
    for (let i = 0; i < s.count; i += 1, token += 1) {
      batch.positions[token] = s.start + i;
      batch.slots[token] = index * stride * blockSize + s.start + i;
    }
  });
  batch.queryStarts[sequences.length] = token;
  return { batch, numBlocks: sequences.length * stride };
}

/** Normally distributed with deviation 2.5. */
function makeValues(count) {
  let state = 1;
  const uniform = () => (state = (state * 48271) % 2147483647) / 2147483647;
  return Float32Array.from(
    { length: count },
    () => 2.5 * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(6.2831853 * uniform()),
  );
}

function tableOf(ops, rows, cols) {
  const values = makeValues(rows * cols);
  const data = new Uint8Array(values.buffer);
  return ops.packLinear([{ kind: "dense", dtype: "f32", rows, cols, data }], {
    name: "rows",
    inputForm: "f32",
  });
}

function benchAttention(ops, { label, shape, sequences, dtype }, watch) {
  const before = watch.latest();
  const { batch, numBlocks } = makeBatch(sequences);
  const cols = (shape.numHeads + 2 * shape.numKvHeads) * shape.headDim;
  const table = tableOf(ops, 1, cols);
  const longest = Math.max(...sequences.map((s) => s.start + s.count));
  const half = shape.headDim / 2;
  const cos = new Float32Array(longest * half).fill(1);
  const rope = ops.loadRope(cos, new Float32Array(longest * half), shape.headDim);
  const cache = ops.createKvCache({ ...shape, numLayers: 1, numBlocks, blockSize, dtype });
  const options = { ...shape, scale: shape.headDim ** -0.5 };
  ops.beginStep(batch);
  const qkv = ops.embed(table);
  ops.ropeAndCache(qkv, rope, cache, 0, shape);
  const seconds = bestTime(() => ops.pagedAttention(qkv, cache, 0, options, "int8-block32"));
  const storeSeconds = bestTime(() => ops.ropeAndCache(qkv, rope, cache, 0, shape));
  ops.endStep();
  let pairs = 0;
  for (const s of sequences) for (let i = 0; i < s.count; i += 1) pairs += s.start + i + 1;
  const operations = 4 * pairs * shape.numHeads * shape.headDim;
  const elementBytes = { f32: 4, f16: 2, bf16: 2, int8: 1 }[dtype];
  const cached = sequences.reduce((sum, s) => sum + s.start + s.count, 0);
  const bytes = cached * 2 * shape.numKvHeads * shape.headDim * elementBytes;
  const ceilings = higherOf(before, watch.measure());
  const roofline = secondsAtCeilings({ bytes, operations, unit: ops.attentionDtype }, ceilings) / seconds;
  return { label, bytes, operations, seconds, storeSeconds, roofline };
}

const repeat = (count, sequence) => Array.from({ length: count }, () => sequence);
const headShapes = [
  ["9/3 heads", { numHeads: 9, numKvHeads: 3, headDim: 64 }],
  ["32/8 heads", { numHeads: 32, numKvHeads: 8, headDim: 64 }],
];
const loads = [
  ["decode 32 x 512", repeat(32, { start: 511, count: 1 })],
  ["decode 1 x 8191", [{ start: 8190, count: 1 }]],
  ["prefill 512 at 0", [{ start: 0, count: 512 }]],
  ["prefill 512 at 3584", [{ start: 3584, count: 512 }]],
];

/** Every load at every pair of head counts, in three arithmetics: the best time, and the share of the roofline. */
export function benchAttentions({ isa, numThreads, watch }) {
  const benchAll = (dtype, attentionDtype) => {
    const { ops } = createOps({ backend: "native", isa, numThreads, attentionDtype });
    const products = attentionDtype === "f32" ? "" : `, ${attentionDtype} products`;
    const results = headShapes.flatMap(([heads, shape]) =>
      loads.map(([load, sequences]) => {
        const label = `${load}, ${heads}, ${dtype}${products}`;
        return benchAttention(ops, { label, shape, sequences, dtype }, watch);
      }),
    );
    ops.close();
    return results;
  };
  return [...benchAll("f16", "f32"), ...benchAll("int8", "f32"), ...benchAll("f16", "bf16")];
}
