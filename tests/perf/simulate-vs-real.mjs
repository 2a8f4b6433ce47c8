// Replays a part of a trace through the real thing and through `millrace simulate`, several times and at several loads, and
// prints how far the simulated medians of TTFT and ITL are off. Ends with exit code 1 where the middle one of the
// rounds is more than 15 % off.
//
//   node tests/perf/simulate-vs-real.mjs TRACE [--against server|engine] [--model models/pebble/model]
//     [--from 600] [--seconds 60] [--speeds 0.25,1] [--rounds 7] [--costs FILE] [--keep FOLDER]
//
// server: `millrace serve` as a process of its own, requests over HTTP by the client of `millrace bench`; step costs from
//         three runs of `millrace bench` (--calibrate-from).
// engine: in process; step costs by --calibrate.
//
// Costs are measured before and after every round, on requests of their own, since a shared machine is not equally fast for
// long; or they are taken from a file of an earlier run (--keep FOLDER leaves FOLDER/costs.json, the last ones). Nothing of
// a replay goes into them. A round in which other processes took more than 5 % of the machine does not count. How far the
// foreseen medians moved from before to after is printed: the verdict is about the middle one of the rounds, and where they
// move much it takes many rounds. Takes rounds × loads × (seconds + half a minute). Linux only.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { measureRequest } from "../../dist/bench/measure-request.js";
import { ConnectionPool } from "../../dist/client/connection-pool.js";
import { defaultEngineOptions } from "../../dist/engine/engine-options.js";
import { createInProcessClient } from "../../dist/engine/in-process-client.js";
import { loadEngine } from "../../dist/engine/load-engine.js";
import { selectRequests } from "../../dist/engine/simulator/select-requests.js";
import { WeightedSamples } from "../../dist/engine/simulator/weighted-samples.js";
import { createEngineLauncher } from "../../dist/flow/engines/create-launcher.js";
import { parseTrace } from "../../dist/protocol/request-trace.js";
import { defaultSampling } from "../../dist/protocol/sampling-params.js";
import { watchOthers } from "./machine-load.mjs";
import { parseFlags } from "./parse-flags.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const main = path.join(root, "dist/cli/main.js");
const maxError = 0.15;
const maxOthers = 0.05;
const points = ["p50", "p90", "p99"];
/** Loads of the server's calibration: prompt lengths, and how many requests are in flight. */
const calibrationRuns = [
  { inputTokens: 32, concurrency: "1,2,4,8,16,32" },
  { inputTokens: 512, concurrency: "1,2,4,16" },
  { inputTokens: 1536, concurrency: "1,4,16" },
];

const { values, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    against: { type: "string", default: "server" },
    model: { type: "string", default: path.join(root, "models/pebble/model") },
    from: { type: "string", default: "600" },
    seconds: { type: "string", default: "60" },
    speeds: { type: "string", default: "0.25,1" },
    rounds: { type: "string", default: "7" },
    costs: { type: "string" },
    keep: { type: "string" },
  },
});
const [trace] = positionals;
if (trace === undefined || !["server", "engine"].includes(values.against)) {
  console.error("usage: simulate-vs-real.mjs TRACE (--help tells more)");
  process.exit(2);
}
const speeds = values.speeds.split(",").map(Number);
const folder = values.keep ?? mkdtempSync(path.join(os.tmpdir(), "millrace-simulate-"));
mkdirSync(folder, { recursive: true });

const sleepUntil = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms - performance.now())));

async function millrace(...args) {
  const { stdout } = await promisify(execFile)(process.execPath, [main, ...args], {
    maxBuffer: 2 ** 26,
  });
  return stdout;
}

/** The lines of the trace from a time on, as a file of their own. */
function writeSlice(fromSeconds) {
  const [header, ...lines] = readFileSync(trace, "utf8").trim().split(/\r?\n/);
  const millisecondsOf = (line) => Date.parse(`${line.split(",")[0].slice(0, 23).replace(" ", "T")}Z`);
  const fromMs = millisecondsOf(lines[0]) + fromSeconds * 1000;
  const file = path.join(folder, "slice.csv");
  writeFileSync(file, [header, ...lines.filter((line) => millisecondsOf(line) >= fromMs)].join("\n"));
  return file;
}

/** Random ids beyond the special ones, so that no two prompts share a beginning: the trace says nothing of shared ones. */
function randomPrompt(length, vocabSize) {
  const low = Math.min(200, Math.floor(vocabSize / 4));
  return Array.from({ length }, () => low + Math.floor(Math.random() * (vocabSize - low)));
}

/** The engine in this process. */
async function openEngine() {
  const engine = await loadEngine(defaultEngineOptions(values.model));
  const client = createInProcessClient(engine);
  const send = async (request, index) => {
    const sentMs = performance.now();
    const tokenMs = [];
    for await (const output of client.generate({
      requestId: `${index}`,
      promptTokenIds: Int32Array.from(request.prompt),
      sampling: { ...defaultSampling, maxTokens: request.numOutputTokens, temperature: 0, ignoreEos: true },
    })) {
      if (output.newTokenIds.length > 0) tokenMs.push(performance.now());
    }
    return { sentMs, tokenMs, isMerged: tokenMs.map(() => false) };
  };
  const { vocabSize, maxModelLen } = engine.info;
  const calibrate = (out) =>
    millrace("simulate", "--calibrate", values.model, "--calibration-time", "30", "--out", out);
  return { vocabSize, maxModelLen, pids: [], send, calibrate, close: () => client.close() };
}

/** A server as a process of its own. */
async function openServer() {
  const side = { modelName: "model", path: values.model, dtype: "auto", engine: "millrace" };
  const { signal } = new AbortController();
  const launcher = createEngineLauncher(side, { readyTimeoutMs: 600_000, signal });
  const { url, pid } = await launcher.start();
  await launcher.ready();
  const [{ id, max_model_len: maxModelLen }] = (await (await fetch(`${url}/v1/models`)).json()).data;
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const numBlocks = /^vllm:cache_config_info\{.*num_gpu_blocks="(\d+)"/m.exec(metrics)[1];
  const pool = new ConnectionPool(0, {});
  const target = { endpoints: [{ url }], model: id, continuousUsage: false, extraBody: {}, pool };
  const send = async ({ prompt, numOutputTokens }, index) => {
    const plan = { index, turn: 0, prompt, outputTokens: numOutputTokens, dueMs: null };
    const { sentMs, chunkMs, coalesced, error } = await measureRequest(target, plan, 0);
    if (error !== null) throw new Error(error);
    return { sentMs, tokenMs: chunkMs, isMerged: coalesced };
  };
  const calibrate = async (out) => {
    const runs = [];
    for (const { inputTokens, concurrency } of calibrationRuns) {
      const run = path.join(folder, `bench-${inputTokens}`);
      const load = ["--input-tokens", `${inputTokens}`, "--concurrency", concurrency, "--warmup", "40"];
      await millrace("bench", url, ...load, "--out", run);
      runs.push("--calibrate-from", run);
    }
    const sizes = ["--max-model-len", `${maxModelLen}`, "--num-kv-blocks", numBlocks];
    return millrace("simulate", ...runs, ...sizes, "--out", out);
  };
  const close = async () => {
    pool.destroy();
    await launcher.stop();
  };
  const { vocab_size: vocabSize } = JSON.parse(readFileSync(path.join(values.model, "config.json"), "utf8"));
  return { vocabSize, maxModelLen, pids: [pid], send, calibrate, close };
}

/** The gaps of a request's tokens, weighted. Tokens that came in one read share the gap before them. */
function addGaps(itl, tokenMs, isMerged) {
  for (let at = 1; at < tokenMs.length; ) {
    let end = at + 1;
    while (end < tokenMs.length && isMerged[end]) end += 1;
    itl.add((tokenMs[at] - tokenMs[at - 1]) / (end - at), end - at);
    at = end;
  }
}

/** Sends requests at their times; samples of TTFT and ITL. */
async function replay(target, requests) {
  const ttft = new WeightedSamples();
  const itl = new WeightedSamples();
  const prepared = requests.map((request) => ({
    ...request,
    prompt: randomPrompt(request.numPromptTokens, target.vocabSize),
  }));
  const startMs = performance.now() + 100;
  const watch = watchOthers(target.pids);
  const late = await Promise.all(
    prepared.map(async (request, index) => {
      const plannedMs = startMs + request.arrivalMs;
      await sleepUntil(plannedMs);
      const { sentMs, tokenMs, isMerged } = await target.send(request, index);
      ttft.add(tokenMs[0] - plannedMs, 1);
      addGaps(itl, tokenMs, isMerged);
      return sentMs - plannedMs;
    }),
  );
  const lateMs = late.toSorted((a, b) => a - b)[late.length >> 1];
  return { ttftMs: ttft.summary(), itlMs: itl.summary(), lateMs, others: watch() };
}

async function simulated(slice, costs, speed) {
  const load = ["--duration", `${Number(values.seconds) * speed}`, "--speed", `${speed}`];
  const text = await millrace(
    "simulate",
    slice,
    "--costs",
    costs,
    "--serving",
    "continuous",
    "--json",
    ...load,
  );
  const record = JSON.parse(text);
  return { ...record.configurations[0].result, trace: record.trace };
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const signed = (share) => `${share < 0 ? "−" : "+"}${percent(Math.abs(share))}`;

/**
 * One load, several rounds, each between two calibrations; the errors of the medians of those that count. What is foreseen
 * is the mean by the costs before and after, which shared machines make differ.
 */
async function compare(target, slice, speed) {
  const { requests } = selectRequests(parseTrace(readFileSync(slice, "utf8"), slice), {
    maxTokens: target.maxModelLen,
    durationMs: Number(values.seconds) * 1000 * speed,
    speed,
    askedTokens: null,
  });
  const foresee = async () => {
    const fit = values.costs === undefined ? await target.calibrate(costs) : "";
    return { fit, ...(await simulated(slice, costs, speed)) };
  };
  const errors = { ttftMs: [], itlMs: [] };
  let before = await foresee();
  describeLoad(before.fit, speed, requests.length, before);
  const numRounds = Number(values.rounds);
  for (let round = 0; round < numRounds; round += 1) {
    const real = await replay(target, requests);
    const after = await foresee();
    const drift = Math.max(
      ...Object.keys(errors).map((name) => Math.abs(Math.log(after[name].p50 / before[name].p50))),
    );
    const counts = real.others <= maxOthers;
    const cells = Object.keys(errors).flatMap((name) =>
      points.map((point) => {
        const foreseen = (before[name][point] + after[name][point]) / 2;
        const error = foreseen / real[name][point] - 1;
        if (point === "p50" && counts) errors[name].push(error);
        return `${name} ${point} ${foreseen.toFixed(2)} for ${real[name][point].toFixed(2)} (${signed(error)})`;
      }),
    );
    console.log(
      `  others ${percent(real.others)}, machine changed by ${percent(Math.exp(drift) - 1)}${counts ? "" : ", does not count"}, ` +
        `sent ${real.lateMs.toFixed(2)} ms late: ${cells.join("; ")}`,
    );
    before = after;
  }
  return Object.entries(errors).map(([name, list]) => verdict(`speed ${speed} ${name} p50`, list));
}

function describeLoad(fit, speed, numRequests, { trace: { numTooLong, numEmpty }, ...foreseen }) {
  console.log(
    `${fit}\nspeed ${speed}: ${numRequests} requests; left out: ${numTooLong} too long, ${numEmpty} empty; busy ` +
      `${percent(foreseen.busyMs / foreseen.durationMs)}, ${foreseen.meanSequences.toFixed(1)} sequences in a step`,
  );
}

function verdict(label, errors) {
  if (errors.length === 0) {
    console.log(`${label}: no round counts`);
    return false;
  }
  const sorted = errors.toSorted((a, b) => a - b);
  const middle = sorted[sorted.length >> 1];
  console.log(
    `${label}: ${signed(middle)}, from ${signed(sorted[0])} to ${signed(sorted.at(-1))} over ${sorted.length} rounds`,
  );
  return Math.abs(middle) <= maxError;
}

const slice = writeSlice(Number(values.from));
const costs = values.costs ?? path.join(folder, "costs.json");
const target = values.against === "engine" ? await openEngine() : await openServer();
let verdicts = [];
try {
  for (const speed of speeds) verdicts = [...verdicts, ...(await compare(target, slice, speed))];
} finally {
  await target.close();
  if (values.keep === undefined) rmSync(folder, { recursive: true, force: true });
}
const isClose = verdicts.every(Boolean);
console.log(isClose ? "\nwithin 15 %" : "\nmore than 15 % off");
process.exitCode = isClose ? 0 : 1;
