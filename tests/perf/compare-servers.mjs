// Serves one model with Millrace and with another server in turn, loads both with the same prompts, and prints the
// ratio of output tokens per second with its spread, ready time and peak memory.
//
//   node tests/perf/compare-servers.mjs MODEL --peer "llama-server -m MODEL -t 2 -np 32 -c 16384 --port {port}" \
//     [--concurrency 1,32] [--rounds 3] [--vocab 49000] [--serve "--max-num-seqs 32 --max-model-len 1024"]
//
// One server runs at a time in each round; rounds alternate who goes first.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { silentProgress } from "../../dist/base/progress.js";
import { runSweep } from "../../dist/bench/sweep.js";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    peer: { type: "string" },
    concurrency: { type: "string", default: "1,32" },
    rounds: { type: "string", default: "3" },
    vocab: { type: "string", default: "49000" },
    serve: { type: "string", default: "--max-num-seqs 32 --max-model-len 1024" },
  },
});
const [model] = positionals;
if (model === undefined || values.peer === undefined) {
  console.error("usage: compare-servers.mjs MODEL --peer COMMAND (see the head of this file)");
  process.exit(2);
}
const concurrencies = values.concurrency.split(",").map(Number);

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

async function measure(commandFor, seed) {
  const port = await freePort();
  const started = performance.now();
  const [program, ...args] = commandFor(port).split(" ").filter(Boolean);
  const child = spawn(program, args, { stdio: "ignore" });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  try {
    const url = `http://127.0.0.1:${port}`;
    while ((await fetch(`${url}/health`).catch(() => undefined))?.ok !== true) {
      if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const readyMs = performance.now() - started;
    const record = await runSweep({
      endpoint: { url },
      model: null,
      concurrencies,
      requestsPerSeat: 2,
      minRequests: 4,
      minSeconds: 0,
      inputTokens: 128,
      outputTokens: 64,
      numWarmup: 2,
      seed,
      vocabSize: Number(values.vocab),
      progress: silentProgress,
    });
    const peakKib = Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]);
    return { readyMs, peakMib: peakKib / 1024, stages: record.stages };
  } finally {
    child.kill("SIGTERM");
    await gone;
  }
}

const ours = (seed) =>
  measure(
    (port) => `${process.execPath} ${root}/dist/cli/main.js serve ${model} --port ${port} ${values.serve}`,
    seed,
  );
const theirs = (seed) => measure((port) => values.peer.replaceAll("{port}", String(port)), seed);

const ratios = concurrencies.map(() => []);
for (let round = 0; round < Number(values.rounds); round += 1) {
  const first = round % 2 === 0 ? await ours(round) : undefined;
  const peer = await theirs(round);
  const own = first ?? (await ours(round));
  console.log(
    `round ${round + 1}: ready ${own.readyMs.toFixed(0)} ms against ${peer.readyMs.toFixed(0)}, peak ${own.peakMib.toFixed(0)} MiB against ${peer.peakMib.toFixed(0)}`,
  );
  own.stages.forEach((stage, index) => {
    const other = peer.stages[index];
    ratios[index].push(stage.outputTokensPerSecond / other.outputTokensPerSecond);
    console.log(
      `  ${stage.concurrency} in flight: ${stage.outputTokensPerSecond.toFixed(1)} against ${other.outputTokensPerSecond.toFixed(1)} output tokens/s, TTFT p50 ${stage.ttftMs.p50.toFixed(0)} against ${other.ttftMs.p50.toFixed(0)} ms, ITL p50 ${stage.itlMs.p50.toFixed(1)} against ${other.itlMs.p50.toFixed(1)} ms, errors ${stage.numErrors} / ${other.numErrors}`,
    );
  });
}
concurrencies.forEach((concurrency, index) => {
  const sorted = ratios[index].toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  console.log(
    `ratio at ${concurrency} in flight: median ${median.toFixed(2)}, from ${sorted[0].toFixed(2)} to ${sorted.at(-1).toFixed(2)} over ${sorted.length} rounds`,
  );
});
