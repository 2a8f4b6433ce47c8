// Prints what attention costs on this machine, beside the vector units' own ceiling.
// Build first (`npm run build && npm run build:native`), then: node tests/perf/kernels.mjs [isa] [threads]
import { createOps } from "../../dist/kernels/create-ops.js";

const [isa, threads] = [process.argv[2] || undefined, Number(process.argv[3] ?? 0)];
const { ops, notes } = createOps({ backend: "native", numThreads: threads, ...(isa ? { isa } : {}) });
console.log(notes.join("\n"));

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

/** Normally distributed with deviation 2.5, like the logits of a language model. */
function makeValues(count) {
  let state = 1;
  const uniform = () => (state = (state * 48271) % 2147483647) / 2147483647;
  return Float32Array.from(
    { length: count },
    () => 2.5 * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(6.2831853 * uniform()),
  );
}

function tableOf(rows, cols) {
  const values = makeValues(rows * cols);
  const data = new Uint8Array(values.buffer);
  return ops.packLinear([{ kind: "dense", dtype: "f32", rows, cols, data }], {
    name: "rows",
    inputForm: "f32",
  });
}

function benchAttention(label, shape, sequences, dtype) {
  const { batch, numBlocks } = makeBatch(sequences);
  const cols = (shape.numHeads + 2 * shape.numKvHeads) * shape.headDim;
  const table = tableOf(1, cols);
  const longest = Math.max(...sequences.map((s) => s.start + s.count));
  const half = shape.headDim / 2;
  const rope = ops.loadRope(
    new Float32Array(longest * half).fill(1),
    new Float32Array(longest * half),
    shape.headDim,
  );
  const cache = ops.createKvCache({ ...shape, numLayers: 1, numBlocks, blockSize, dtype });
  const options = { ...shape, scale: shape.headDim ** -0.5 };
  ops.beginStep(batch);
  const qkv = ops.embed(table);
  ops.ropeAndCache(qkv, rope, cache, 0, shape);
  const seconds = bestTime(() => ops.pagedAttention(qkv, cache, 0, options, "int8-block32"));
  const store = bestTime(() => ops.ropeAndCache(qkv, rope, cache, 0, shape));
  ops.endStep();
  let pairs = 0;
  for (const s of sequences) for (let i = 0; i < s.count; i += 1) pairs += s.start + i + 1;
  const gflops = (4 * pairs * shape.numHeads * shape.headDim) / seconds / 1e9;
  const bytes =
    sequences.reduce((sum, s) => sum + s.start + s.count, 0) * 2 * shape.numKvHeads * shape.headDim * 2;
  console.log(
    `${label.padEnd(44)} ${(seconds * 1e6).toFixed(0).padStart(8)} us  ${gflops.toFixed(1).padStart(6)} GFLOP/s  ` +
      `${(bytes / seconds / 1e9).toFixed(1).padStart(5)} GB/s of KV   rope+store ${(store * 1e6).toFixed(0)} us`,
  );
}

const repeat = (count, sequence) => Array.from({ length: count }, () => sequence);
const smol = { numHeads: 9, numKvHeads: 3, headDim: 64 };
const plain = { numHeads: 16, numKvHeads: 16, headDim: 64 };
const qwen = { numHeads: 14, numKvHeads: 2, headDim: 64 };
for (const [name, shape] of [
  ["9/3 heads", smol],
  ["16/16 heads", plain],
  ["14/2 heads", qwen],
]) {
  benchAttention(`decode 32 x 512, ${name}, f16`, shape, repeat(32, { start: 511, count: 1 }), "f16");
  benchAttention(`decode 1 x 8191, ${name}, f16`, shape, [{ start: 8190, count: 1 }], "f16");
  benchAttention(`prefill 512 at 0, ${name}, f16`, shape, [{ start: 0, count: 512 }], "f16");
  benchAttention(`prefill 512 at 3584, ${name}, f16`, shape, [{ start: 3584, count: 512 }], "f16");
}
benchAttention("decode 32 x 512, 9/3 heads, bf16", smol, repeat(32, { start: 511, count: 1 }), "bf16");
benchAttention("decode 32 x 512, 9/3 heads, f32", smol, repeat(32, { start: 511, count: 1 }), "f32");
ops.close();
