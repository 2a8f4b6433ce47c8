// Prints how far the client of `millrace bench` is from what a server really sent, at growing loads, and beside it what
// `vllm bench serve` makes of the same server.
//
//   node tests/perf/client-accuracy.mjs [--levels 1x100,10x100,100x100,500x100,1000x20] [--trials 3]
//     [--threads 1] [--vllm PATH/TO/vllm --tokenizer FOLDER]
//
// A level is streams × events per second of each; all streams start at once, TTFT is 50 ms, an answer has 100 events. The
// server keeps a log of what it sent when (tests/bench-simulator/simulator.mjs) on the clock that all processes share, so errors are against
// what was sent, not against what was asked for. Server and client share the machine. Each figure is the middle one of the
// trials, with the least and the greatest behind it.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { silentProgress } from "../../dist/base/progress.js";
import { runSweep } from "../../dist/bench/sweep.js";
import { clientError, seenByUs, seenByVllm } from "../bench-simulator/client-error.mjs";
import { startSimulator } from "../bench-simulator/start-simulator.mjs";
import { parseFlags } from "./parse-flags.mjs";

const { values } = parseFlags({
  options: {
    levels: { type: "string", default: "1x100,10x100,100x100,500x100,1000x20" },
    trials: { type: "string", default: "3" },
    threads: { type: "string", default: "1" },
    vllm: { type: "string" },
    tokenizer: { type: "string" },
  },
});
const numTokens = 100;
const inputTokens = 16;
const folder = mkdtempSync(path.join(os.tmpdir(), "millrace-accuracy-"));

async function ours(url, streams) {
  let kept = [];
  await runSweep({
    endpoint: { url },
    model: null,
    concurrencies: [],
    rates: [
      {
        arrivals: { kind: "rate", requestRate: Number.POSITIVE_INFINITY, burstiness: 1 },
        numRequests: streams,
        maxConcurrency: null,
      },
    ],
    requestsPerSeat: 1,
    minRequests: 1,
    minSeconds: 0,
    inputTokens,
    outputTokens: numTokens,
    numWarmup: 1,
    seed: 1,
    vocabSize: 1000,
    numThreads: Number(values.threads),
    progress: silentProgress,
    onStage: (_stage, records) => (kept = records),
  });
  return seenByUs(kept);
}

async function vllm(url, streams) {
  const name = `vllm-${streams}.json`;
  const prefix = "accuracy-";
  const args = ["bench", "serve", "--backend", "openai", "--base-url", url, "--model", "scripted"];
  args.push(
    "--tokenizer",
    values.tokenizer,
    "--dataset-name",
    "random",
    "--random-input-len",
    `${inputTokens}`,
  );
  args.push(
    "--random-output-len",
    `${numTokens}`,
    "--num-prompts",
    `${streams}`,
    "--request-id-prefix",
    prefix,
  );
  args.push(
    "--save-result",
    "--save-detailed",
    "--result-dir",
    folder,
    "--result-filename",
    name,
    "--disable-tqdm",
  );
  await promisify(execFile)(values.vllm, args, { maxBuffer: 2 ** 26 });
  return seenByVllm(JSON.parse(readFileSync(path.join(folder, name), "utf8")), prefix);
}

const clients = { millrace: ours, ...(values.vllm === undefined ? {} : { vllm }) };

function middle(trials, key) {
  const sorted = trials.map((trial) => trial[key]).sort((a, b) => a - b);
  const shown = [sorted[sorted.length >> 1], sorted[0], sorted.at(-1)].map((ms) => ms.toFixed(2));
  return `${shown[0]} (${shown[1]}–${shown[2]})`;
}

const columns = ["TTFT error p50", "TTFT error p99", "ITL error p99", "ITL error σ"];
console.log(
  ["streams × events/s", "client", ...columns.map((name) => `${name} ms`), "unmatched"].join(" | "),
);
for (const level of values.levels.split(",")) {
  const [streams, rate] = level.split("x").map(Number);
  const results = Object.fromEntries(Object.keys(clients).map((name) => [name, []]));
  const simulator = await startSimulator({ scripts: [{ ttftMs: 50, itlMs: 1000 / rate, numTokens }] });
  try {
    for (let trial = -1; trial < Number(values.trials); trial += 1) {
      for (const [name, run] of Object.entries(clients)) {
        const error = clientError(await run(simulator.url, streams), await simulator.log());
        if (trial >= 0) results[name].push(error);
      }
    }
  } finally {
    await simulator.stop();
  }
  for (const [name, trials] of Object.entries(results)) {
    const figures = ["ttftP50", "ttftP99", "itlP99", "itlSigma"].map((key) => middle(trials, key));
    console.log(
      [level, name, ...figures, Math.max(...trials.map((trial) => trial.numUnmatched))].join(" | "),
    );
  }
}
rmSync(folder, { recursive: true });
