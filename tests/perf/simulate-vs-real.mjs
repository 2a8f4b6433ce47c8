// Replays the beginning of a trace through the real engine, in process and with its arrival times, and through the
// simulator with costs measured just before on the same engine; prints both and the ratio of their medians. Ends with
// exit code 1 where the median TTFT or ITL is more than 15 % off.
//
//   node tests/perf/simulate-vs-real.mjs TRACE [--model models/pebble/model] [--seconds 60] [--speed 1]
//
// Takes --seconds of real time and as long again at most for the calibration. Needs an otherwise idle machine.
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { defaultEngineOptions } from "../../dist/engine/engine-options.js";
import { createInProcessClient } from "../../dist/engine/in-process-client.js";
import { loadEngine } from "../../dist/engine/load-engine.js";
import { measureSteps } from "../../dist/engine/simulator/calibrate.js";
import { selectRequests } from "../../dist/engine/simulator/select-requests.js";
import { simulate } from "../../dist/engine/simulator/simulate.js";
import { fitStepCosts } from "../../dist/engine/simulator/step-cost-model.js";
import { parseTrace } from "../../dist/engine/simulator/trace.js";
import { WeightedSamples } from "../../dist/engine/simulator/weighted-samples.js";
import { defaultSampling } from "../../dist/protocol/sampling-params.js";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const maxError = 0.15;
const calibrationMs = 20_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: "string", default: path.join(root, "models/pebble/model") },
    seconds: { type: "string", default: "60" },
    speed: { type: "string", default: "1" },
  },
});
const [trace] = positionals;
if (trace === undefined) {
  console.error("usage: simulate-vs-real.mjs TRACE (see the head of this file)");
  process.exit(2);
}
const speed = Number(values.speed);

/** Random ids, so that no two prompts share a beginning: the trace says nothing of shared ones. */
function randomPrompt(length, vocabSize) {
  return Int32Array.from({ length }, () => Math.floor(Math.random() * vocabSize));
}

async function replayOne(client, request, index, startMs, record) {
  const arrivalMs = startMs + request.arrivalMs;
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, arrivalMs - performance.now())));
  const outputs = client.generate({
    requestId: `r${index}`,
    promptTokenIds: request.promptTokenIds,
    sampling: { ...defaultSampling, maxTokens: request.numOutputTokens, temperature: 0, ignoreEos: true },
  });
  let lastMs = 0;
  for await (const output of outputs) {
    const nowMs = performance.now();
    if (output.newTokenIds.length === 0) continue;
    if (lastMs === 0) record.ttft.add(nowMs - arrivalMs, 1);
    else record.itl.add(nowMs - lastMs, 1);
    lastMs = nowMs;
  }
  record.e2e.add(lastMs - arrivalMs, 1);
}

async function replay(client, requests) {
  const record = { ttft: new WeightedSamples(), itl: new WeightedSamples(), e2e: new WeightedSamples() };
  const prompts = requests.map((request) => ({
    ...request,
    promptTokenIds: randomPrompt(request.numPromptTokens, client.info.vocabSize),
  }));
  const startMs = performance.now();
  await Promise.all(prompts.map((request, index) => replayOne(client, request, index, startMs, record)));
  return { ttftMs: record.ttft.summary(), itlMs: record.itl.summary(), e2eMs: record.e2e.summary() };
}

function settingsOf(info, costs) {
  const { maxNumSeqs, maxNumBatchedTokens, blockSize, numTotalBlocks: numBlocks } = info;
  const limits = { maxNumSeqs, maxNumBatchedTokens };
  return {
    serving: "continuous",
    limits: { ...limits, longPrefillTokenThreshold: 0 },
    victims: "lifo",
    blockSize,
    blockBytes: info.memory.kvCache / numBlocks,
    numBlocks,
    numHostBlocks: 0,
    isPrefixCaching: true,
    batchTimeoutMs: 0,
    admission: {
      ...limits,
      schedulingPolicy: "fcfs",
      tenantWeights: new Map(),
      usesPriority: false,
      maxNumQueuedRequests: 4096,
      maxNumQueuedTokens: 0,
      maxNumQueuedRequestsPerTenant: 0,
    },
    targets: { ttftMs: 1000, tpotMs: 100, e2eMs: Number.POSITIVE_INFINITY },
    costs,
  };
}

const engine = await loadEngine(defaultEngineOptions(values.model));
const selection = selectRequests(parseTrace(readFileSync(trace, "utf8"), trace), {
  maxTokens: engine.info.maxModelLen,
  durationMs: Number(values.seconds) * 1000 * speed,
  speed,
  askedTokens: null,
});
const { requests, numTooLong, numEmpty } = selection;
console.log(`${requests.length} requests; left out: ${numTooLong} too long, ${numEmpty} empty`);

const fit = fitStepCosts(await measureSteps(engine, calibrationMs));
const percent = (share) => `${(100 * share).toFixed(1)} %`;
console.log("costs", fit.model, `residual: mean ${percent(fit.meanError)}, largest ${percent(fit.maxError)}`);

const client = createInProcessClient(engine);
const real = await replay(client, requests);
await client.close();
const started = performance.now();
const simulated = simulate(requests, settingsOf(engine.info, fit.model));
console.log(`simulated in ${((performance.now() - started) / 1000).toFixed(2)} s`);
console.log(`busy in the simulation: ${percent(simulated.busyMs / simulated.durationMs)}`);

let isClose = true;
for (const name of ["ttftMs", "itlMs", "e2eMs"]) {
  for (const point of ["p50", "p90", "p99"]) {
    const ratio = simulated[name][point] / real[name][point];
    const pair = `real ${real[name][point].toFixed(2)}, simulated ${simulated[name][point].toFixed(2)}`;
    console.log(`${name} ${point}: ${pair}, ratio ${ratio.toFixed(3)}`);
    if (point === "p50" && name !== "e2eMs" && Math.abs(ratio - 1) > maxError) isClose = false;
  }
}
console.log(isClose ? "within 15 %" : "more than 15 % off");
process.exitCode = isClose ? 0 : 1;
