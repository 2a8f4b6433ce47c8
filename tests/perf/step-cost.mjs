// What a step of the engine costs besides the model and the kernels that read logits: scheduling, block tables,
// batches, gathered sampling parameters, stop rules, traces and the message to the clients. The model and the backend
// do nothing here. Needs `npm run build`.
//
//   node tests/perf/step-cost.mjs [--sequences 1,64,256] [--steps 400] [--profile]
//
// Prints the median, the tenth and the ninetieth percentile per step, and the bytes of the heap that a step takes. What
// grows with the number of sequences while no block fills would be an allocation per token: that fails, as does a
// missed goal.
import { spawnSync } from "node:child_process";
import { Session } from "node:inspector/promises";
import { fileURLToPath } from "node:url";
import { getHeapStatistics } from "node:v8";
import { EngineLoop } from "../../dist/engine/engine-loop.js";
import { defaultSampling } from "../../dist/protocol/sampling-params.js";
import { parseFlags } from "./parse-flags.mjs";

const { values: flags } = parseFlags({
  options: {
    sequences: { type: "string", default: "1,64,256" },
    steps: { type: "string", default: "400" },
    profile: { type: "boolean", default: false },
  },
});

// Room for all that a measurement allocates, so that nothing is collected while it is counted.
if (globalThis.gc === undefined) {
  const script = fileURLToPath(import.meta.url);
  const args = ["--expose-gc", "--max-semi-space-size=256", "--min-semi-space-size=256", script];
  const { status } = spawnSync(process.execPath, [...args, ...process.argv.slice(2)], { stdio: "inherit" });
  process.exit(status ?? 1);
}

const goals = { 1: 60, 64: 250, 256: 1000 };
const usualBlockSize = 32;
const hugeBlockSize = 8192;
/** The smallest object on the heap has 16. */
const mostBytesPerToken = 15;
const numRounds = 4;
const numWarmSteps = 300;
const numSteps = Number(flags.steps);
const vocabSize = 49152;
const maxLogprobs = 20;

/** Ways to ask: without more, and with log-probabilities and rules on each request. */
const requestKinds = {
  greedy: { temperature: 0 },
  "logprobs 5": { temperature: 1, logprobs: 5 },
  "penalties, bias": { temperature: 1, frequencyPenalty: 0.5, logitBias: new Map([[7, 1]]) },
};

/** Fills each draw with the same token and does nothing else. */
function idleBackend() {
  return {
    beginStep() {},
    endStep() {},
    flush: () => undefined,
    close() {},
    moveKv() {},
    sample(logits, { numRows }, { tokenIds, logprobs, ranks, topIds, topLogprobs }) {
      tokenIds.fill(100, 0, numRows);
      logprobs.fill(-1, 0, numRows);
      ranks.fill(1, 0, numRows);
      topIds.fill(5, 0, numRows * maxLogprobs);
      topLogprobs.fill(-2, 0, numRows * maxLogprobs);
    },
  };
}

function startEngine(numSeqs, numTokens, blockSize) {
  const blocksPerSeq = Math.ceil(numTokens / blockSize);
  const numBlocks = numSeqs * blocksPerSeq;
  const logits = { id: 0, rows: numSeqs, cols: vocabSize, form: "f32" };
  const model = {
    vocabSize,
    hiddenSize: 1,
    kvShape: { numLayers: 1, numKvHeads: 1, headDim: 1 },
    head: { id: 0 },
    forward: () => logits,
    finalNorm: () => logits,
    logits: () => logits,
  };
  const shape = { id: 0, ...model.kvShape, numBlocks, blockSize, dtype: "f32", sizeBytes: numBlocks * 1024 };
  const info = {
    architecture: "Idle",
    vocabSize,
    maxModelLen: numTokens,
    maxNumSeqs: numSeqs,
    maxNumBatchedTokens: Math.max(2048, numSeqs),
    numTotalBlocks: numBlocks,
    blockSize,
    eosTokenIds: [2],
  };
  return new EngineLoop({
    ops: idleBackend(),
    model,
    cache: shape,
    host: null,
    info,
    longPrefillTokenThreshold: 0,
    admission: {
      schedulingPolicy: "fcfs",
      tenantWeights: new Map(),
      usesPriority: false,
      maxNumSeqs: numSeqs,
      maxNumBatchedTokens: info.maxNumBatchedTokens,
      maxNumQueuedRequests: numSeqs,
      maxNumQueuedTokens: 0,
      maxNumQueuedRequestsPerTenant: 0,
    },
    victims: "lifo",
    isPrefixCaching: true,
    isPrefixChecking: false,
    speculation: null,
    seed: 1,
  });
}

/** An engine in whose every step all sequences draw one token. Blocks fill at different steps. */
async function startDecoding(numSeqs, kind, blockSize) {
  const most = numWarmSteps + 3 * numSteps + 8;
  const engine = startEngine(numSeqs, usualBlockSize * 2 + most, blockSize);
  const sampling = { ...defaultSampling, maxTokens: most, seed: 1n, ...requestKinds[kind] };
  for (let handle = 0; handle < numSeqs; handle += 1) {
    const length = usualBlockSize + (handle % usualBlockSize);
    const promptTokenIds = Int32Array.from({ length }, (_, at) => 10 + ((handle * 131 + at) % 40000));
    engine.generate(handle, { requestId: `r${handle}`, promptTokenIds, sampling });
  }
  // Nothing here waits for the event loop, so the engine's own loop does not come between.
  for (let step = 0; step < numWarmSteps; step += 1) await engine.step();
  return engine;
}

const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

async function timeSteps(engine) {
  const times = new Float64Array(numSteps);
  for (let step = 0; step < numSteps; step += 1) {
    const begin = performance.now();
    await engine.step();
    times[step] = (performance.now() - begin) * 1000;
  }
  return times.sort();
}

/** Bytes of the heap that a step takes: the least of some rounds, because compiling takes some too. */
async function countBytes(engine) {
  const count = Math.floor(numSteps / numRounds);
  let least = Infinity;
  for (let round = 0; round < numRounds; round += 1) {
    globalThis.gc();
    const before = getHeapStatistics().used_heap_size;
    for (let step = 0; step < count; step += 1) await engine.step();
    least = Math.min(least, (getHeapStatistics().used_heap_size - before) / count);
  }
  return least;
}

/**
 * Bytes of the heap that a step takes in an engine whose blocks never fill, where nothing is to be made per token; one
 * that fills has its key made, which is once in as many tokens as it holds.
 */
async function countBytesPerStep(numSeqs, kind) {
  const engine = await startDecoding(numSeqs, kind, hugeBlockSize);
  const bytes = await countBytes(engine);
  await engine.close();
  return bytes;
}

/** Where the heap's bytes come from, by function: sampled, what was collected included. */
async function profileHeap(engine) {
  const session = new Session();
  session.connect();
  await session.post("HeapProfiler.startSampling", {
    samplingInterval: 256,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  });
  for (let step = 0; step < numSteps; step += 1) await engine.step();
  const { profile } = await session.post("HeapProfiler.stopSampling");
  session.disconnect();
  const sums = new Map();
  const walk = ({ callFrame, selfSize, children }) => {
    const place = `${callFrame.functionName} ${callFrame.url.split("/").at(-1)}:${callFrame.lineNumber + 1}`;
    sums.set(place, (sums.get(place) ?? 0) + selfSize);
    children.forEach(walk);
  };
  walk(profile.head);
  for (const [place, bytes] of [...sums].sort(([, a], [, b]) => b - a).slice(0, 12))
    console.log(`    ${(bytes / numSteps).toFixed(0).padStart(7)} bytes per step  ${place}`);
}

console.log(
  "sequences  requests            median us     p10     p90   goal   heap bytes per step: usual   no full block",
);
const faults = [];
for (const kind of Object.keys(requestKinds)) {
  let first = null;
  for (const numSeqs of flags.sequences.split(",").map(Number)) {
    const engine = await startDecoding(numSeqs, kind, usualBlockSize);
    const times = await timeSteps(engine);
    const bytes = await countBytes(engine);
    if (flags.profile) await profileHeap(engine);
    await engine.close();
    const bare = await countBytesPerStep(numSeqs, kind);
    const [low, median, high] = [0.1, 0.5, 0.9].map((share) => percentile(times, share));
    const goal = goals[numSeqs];
    if (goal !== undefined && median > goal)
      faults.push(`${numSeqs} sequences, ${kind}: ${median} us per step`);
    first ??= { numSeqs, bare };
    const perToken = numSeqs === first.numSeqs ? 0 : (bare - first.bare) / (numSeqs - first.numSeqs);
    if (perToken > mostBytesPerToken)
      faults.push(`${numSeqs} sequences, ${kind}: ${perToken} bytes per token`);
    const cells = [median, low, high].map((time) => time.toFixed(1).padStart(8)).join("");
    const counts = `${bytes.toFixed(0).padStart(29)}${bare.toFixed(0).padStart(16)}`;
    console.log(
      `${String(numSeqs).padStart(9)}  ${kind.padEnd(20)}${cells}${String(goal ?? "").padStart(7)}${counts}`,
    );
  }
}
for (const fault of faults) console.log(fault);
console.log(faults.length === 0 ? "all goals are met" : "FAILED");
process.exit(faults.length === 0 ? 0 : 1);
