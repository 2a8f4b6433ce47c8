// What `millrace plan` foresees beside what a server does: output tokens per second and TTFT, and memory by the engine's
// own count and by the system's. Ends with exit code 1 where the middle one of the rounds is more than 20 % off in
// tokens per second, or memory more than 5 %.
//
//   node tests/perf/plan-vs-real.mjs MODEL [--concurrency 1,16] [--input 128] [--output 64] [--rounds 3]
//     [--requests-per-seat 2] [--vocab 2000] [--cache 144MiB] [--flags="--dtype bfloat16"]
//
// Each number in flight has rounds of its own, so that they are short. A round plans right before and right after the load,
// as machines change their pace; the mean of both is what counts.
// A round does not count for speed where the two plans differ by more than 10 %, or other processes took more than 5 % of
// the machine: it is played again, up to three times as many in all. Needs a quiet machine and `npm run build`. Linux only.
import { execFileSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "./parse-flags.mjs";
import { benchServers } from "./suite/servers.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const main = path.join(root, "dist/cli/main.js");
const maxSpeedError = 0.2;
const maxMemoryError = 0.05;
/** Share of the machine that other processes may use in a round that counts. */
const maxOthers = 0.05;
const triesPerRound = 3;
/** Of tokens per second between the plans of a round that counts. */
const maxDrift = 0.1;

const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    concurrency: { type: "string", default: "1,16" },
    input: { type: "string", default: "128" },
    output: { type: "string", default: "64" },
    rounds: { type: "string", default: "3" },
    "requests-per-seat": { type: "string", default: "2" },
    vocab: { type: "string", default: "2000" },
    cache: { type: "string", default: "144MiB" },
    flags: { type: "string", default: "" },
  },
});
const [model] = positionals;
if (model === undefined) {
  console.error("usage: plan-vs-real.mjs MODEL (--help tells more)");
  process.exit(2);
}
// A cache that the load fills, so that what is reserved is also used.
const common = `${flags.flags} --max-num-seqs 32 --max-model-len 512 --kv-cache-memory-bytes ${flags.cache} --max-num-batched-tokens 1024`;
const args = common.split(" ").filter(Boolean);

function plan(concurrency) {
  const load = [
    "--concurrency",
    String(concurrency),
    "--input-tokens",
    flags.input,
    "--output-tokens",
    flags.output,
  ];
  return JSON.parse(execFileSync(process.execPath, [main, "plan", model, "--json", ...load, ...args]));
}

const signed = (share) => `${share < 0 ? "−" : "+"}${(100 * Math.abs(share)).toFixed(1)} %`;
const middle = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** How far the machine's pace changed within a round, told by what its two plans foresee. */
function driftOf(before, after) {
  const ratio = before.loads[0].outputTokensPerSecond / after.loads[0].outputTokensPerSecond;
  return Math.max(ratio, 1 / ratio) - 1;
}

const errors = new Map();
let counts = true;
function compare(label, foreseen, real, digits, limit) {
  const error = foreseen / real - 1;
  const known = errors.get(label) ?? { limit, values: [] };
  if (counts || limit === maxMemoryError) known.values.push(error);
  errors.set(label, known);
  console.log(
    `  ${label.padEnd(34)} ${foreseen.toFixed(digits).padStart(9)} ${real.toFixed(digits).padStart(9)}  ${signed(error)}`,
  );
}

const percent = (share) => `${(100 * share).toFixed(0)} %`;
const mebi = (bytes) => bytes / 2 ** 20;

async function load(concurrency) {
  const command = `${process.execPath} ${main} serve ${model} --port {port} ${common} --enable-prefix-caching off`;
  const [{ rounds }] = await benchServers({
    servers: [{ name: "Millrace", command }],
    concurrencies: [concurrency],
    numRounds: 1,
    minRequests: 1,
    numWarmup: 1,
    requestsPerSeat: Number(flags["requests-per-seat"]),
    vocabSize: Number(flags.vocab),
    inputTokens: Number(flags.input),
    outputTokens: Number(flags.output),
    onRound: () => {},
  });
  return rounds[0];
}

/** @returns whether the round counts for speed */
async function playRound(concurrency, isMost) {
  const before = plan(concurrency);
  const { stages, memory, peakMib, others } = await load(concurrency);
  const after = plan(concurrency);
  const drift = driftOf(before, after);
  counts = others <= maxOthers && drift <= maxDrift;
  console.log(
    `${concurrency} in flight: others ${percent(others)}, drift ${percent(drift)}${counts ? "" : ", speeds do not count"}\n` +
      `${"foreseen".padStart(46)} ${"real".padStart(9)}`,
  );
  const [stage] = stages;
  const mean = (key) => (before.loads[0][key] + after.loads[0][key]) / 2;
  const at = `at ${concurrency} in flight`;
  const tokensPerSecond = mean("outputTokensPerSecond");
  compare(`output tokens/s ${at}`, tokensPerSecond, stage.outputTokensPerSecond, 1, maxSpeedError);
  if (concurrency === 1) compare("TTFT, ms", mean("ttftAloneMs"), stage.ttftMs, 1, Infinity);
  compare(`ITL, ms ${at}`, mean("itlMs"), stage.itlMs, 1, Infinity);
  // The most requests fill the cache, and so the memory that is foreseen.
  if (!isMost) return counts;
  compare(
    "weights, MiB",
    mebi(before.memory.weightBytes + before.memory.rotationBytes),
    mebi(memory.weights),
    1,
    maxMemoryError,
  );
  compare("KV cache, MiB", mebi(before.memory.kvCacheBytes), mebi(memory.kvCache), 1, maxMemoryError);
  compare("process at its peak, MiB", mebi(before.processBytes), peakMib, 1, maxMemoryError);
  return counts;
}

const numRounds = Number(flags.rounds);
const concurrencies = flags.concurrency.split(",").map(Number);
for (const concurrency of concurrencies) {
  const isMost = concurrency === Math.max(...concurrencies);
  for (let round = 0, counted = 0; counted < numRounds && round < triesPerRound * numRounds; round += 1) {
    if (await playRound(concurrency, isMost)) counted += 1;
  }
}

let isClose = true;
for (const [label, { limit, values }] of errors) {
  if (values.length === 0) {
    console.log(`${label}: no round was undisturbed`);
    isClose = false;
    continue;
  }
  const error = middle(values);
  const sorted = values.toSorted((a, b) => a - b);
  const fits = Math.abs(error) <= limit;
  isClose &&= fits;
  const spread = `from ${signed(sorted[0])} to ${signed(sorted.at(-1))} in ${sorted.length} rounds`;
  console.log(`${label}: ${signed(error)}, ${spread}${fits ? "" : ", FAILED"}`);
}
process.exitCode = isClose ? 0 : 1;
