// What drawing tokens costs, as GB/s of logits read, beside the machine's memory speed. Needs `npm run build` and
// `npm run build:native`. Usage: node tests/perf/sampling.bench.mjs [--threads 1,2] [--isa avx2] [--rows 1,8,64]
import { measureCeilings } from "../../dist/kernels/ceilings.js";
import { createOps, nativeStatus } from "../../dist/kernels/create-ops.js";
import { parseFlags } from "./parse-flags.mjs";

const { values: flags } = parseFlags({
  options: {
    threads: { type: "string" },
    isa: { type: "string" },
    rows: { type: "string", default: "1,8,64" },
  },
});

const vocabularies = [49152, 128256];
const secondsPerCell = 0.25;
const maxLogprobs = 20;
/** Distinct tokens of a history: a prompt and an answer of a few thousand tokens. */
const historySize = 1000;

const cases = [
  { name: "greedy", temperature: 0 },
  { name: "temperature", temperature: 0.8 },
  { name: "temperature, top-p 0.9", temperature: 0.8, topP: 0.9 },
  { name: "top-k 50, top-p 0.9", temperature: 0.8, topK: 50, topP: 0.9 },
  { name: "greedy, penalties", temperature: 0, isPenalised: true },
  { name: "greedy, mask", temperature: 0, isMasked: true },
  { name: "greedy, logprobs 20", temperature: 0, numLogprobs: maxLogprobs },
];

/** Normally distributed with deviation 2.5, like the logits of a language model. */
function makeLogits(count) {
  let state = 1;
  const uniform = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  return Float32Array.from(
    { length: count },
    () => 2.5 * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

function makeBatch(numRows, vocab, row) {
  const historyLength = row.isPenalised ? historySize : 0;
  const words = Math.ceil(vocab / 32);
  const each = (length, value) => new Float32Array(length).fill(value);
  return {
    numRows,
    temperature: each(numRows, row.temperature),
    topK: new Int32Array(numRows).fill(row.topK ?? 0),
    topP: each(numRows, row.topP ?? 1),
    minP: each(numRows, 0),
    seeds: new Uint32Array(2 * numRows),
    counters: Uint32Array.from({ length: 2 * numRows }, (_, i) => i),
    biasStarts: new Int32Array(numRows + 1),
    biasIds: new Int32Array(0),
    biasValues: each(0, 0),
    penalties: Float32Array.from(
      { length: 3 * numRows },
      (_, i) => (row.isPenalised ? [1.1, 0.2, 0.3] : [1, 0, 0])[i % 3],
    ),
    historyRanges: Int32Array.from(
      { length: 3 * numRows },
      (_, i) => (Math.floor(i / 3) + (i % 3 === 0 ? 0 : 1)) * historyLength,
    ),
    historyIds: Int32Array.from(
      { length: numRows * historyLength },
      (_, i) => ((i % historyLength) * 7919) % vocab,
    ),
    historyCounts: Int32Array.from({ length: numRows * historyLength }, (_, i) => i % 3),
    maskRows: Int32Array.from({ length: numRows }, (_, i) => (row.isMasked ? i : -1)),
    allowed: row.isMasked ? new Uint32Array(numRows * words).fill(0xffff00ff) : new Uint32Array(0),
    numLogprobs: new Int32Array(numRows).fill(row.numLogprobs ?? 0),
  };
}

function makeOutput(numRows) {
  return {
    tokenIds: new Int32Array(numRows),
    logprobs: new Float32Array(numRows),
    ranks: new Int32Array(numRows),
    maxLogprobs,
    topIds: new Int32Array(numRows * maxLogprobs),
    topLogprobs: new Float32Array(numRows * maxLogprobs),
  };
}

/** A step of `numRows` tokens, all in one sequence. */
function makeStep(numRows) {
  const each = Int32Array.from({ length: numRows }, (_, i) => i);
  return {
    numTokens: numRows,
    numSeqs: 1,
    tokenIds: each,
    positions: each,
    slots: each,
    queryStarts: Int32Array.of(0, numRows),
    contextLengths: Int32Array.of(numRows),
    blockTables: new Int32Array(4),
    blockTableStride: 4,
  };
}

/** Seconds of the fastest call: what the kernels need where nothing else runs. */
function timeSample(ops, logits, batch) {
  const out = makeOutput(batch.numRows);
  let best = Infinity;
  const end = performance.now() + secondsPerCell * 1000;
  do {
    const start = performance.now();
    ops.sample(logits, batch, out);
    best = Math.min(best, performance.now() - start);
  } while (performance.now() < end);
  return best / 1000;
}

const status = nativeStatus();
if (!status.available) throw new Error(`The native kernels are not available: ${status.reason}`);
const isa = flags.isa ?? status.isas[0];
const threadCounts = (flags.threads ?? String(status.numThreads)).split(",").map(Number);
const rowCounts = flags.rows.split(",").map(Number);
const mostRows = Math.max(...rowCounts);
for (const numThreads of threadCounts) {
  const memory = (measureCeilings(isa, numThreads).readBytes / 1e9).toFixed(1);
  console.log(
    `\n${isa}, ${numThreads} threads. Memory gives ${memory} GB/s. Cells: GB/s of logits, us a row.`,
  );
  for (const vocab of vocabularies) {
    console.log(
      `${`vocabulary ${vocab}`.padEnd(26)}${rowCounts.map((r) => `${r} rows`.padStart(14)).join("  |")}`,
    );
    const { ops } = createOps({ backend: "native", isa, numThreads });
    const data = new Uint8Array(makeLogits(mostRows * vocab).buffer);
    const table = ops.packLinear([{ kind: "dense", rows: mostRows, cols: vocab, dtype: "f32", data }], {
      name: "logits",
      inputForm: "f32",
    });
    for (const row of cases) {
      const cells = rowCounts.map((numRows) => {
        ops.beginStep(makeStep(numRows));
        const seconds = timeSample(ops, ops.embed(table), makeBatch(numRows, vocab, row));
        ops.endStep();
        const gigabytes = (numRows * vocab * 4) / seconds / 1e9;
        return `${gigabytes.toFixed(1).padStart(6)} ${((seconds / numRows) * 1e6).toFixed(1).padStart(7)}`;
      });
      console.log(`${row.name.padEnd(26)}${cells.join("  |")}`);
    }
    ops.close();
  }
}
