// Fits what `millrace plan` foresees speeds by: what operations cost of a machine's ceilings (`stepCosts` in
// src/engine/plan/step-time.ts), and what a server takes beside them (`servingCosts` in predict-load.ts). Needs a quiet
// machine and `npm run build`. Linux only.
//
//   node tests/perf/fit-step-time.mjs RECORD [MODEL] [--dtype auto] [--rounds 2] [--cycles 5]
//     [--decode 1,4,16] [--prefill 128,512]
//
// Measures MODEL and adds a line of JSON to RECORD; then, also without MODEL, fits to all lines of RECORD. In each round the
// machine is probed as `plan` does, steps of each shape are profiled in turn, a server is loaded with 1 and 16 in
// flight, and the machine is probed again. What counts of each is the middle one. Costs of operations are those with the least
// squares of the logarithms of foreseen by real time, each kind of operation by its share of its step. What a server takes
// of a step (`servingCosts.stepSeconds` and `tokenSeconds`) is its time between tokens, of a request its TTFT, each beyond
// the profiled operations; the time between operations belongs to it, as profiling makes that longer.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { openModel } from "../../dist/cli/model-source.js";
import { servingCosts } from "../../dist/engine/plan/predict-load.js";
import { stepCostsOf, stepSeconds } from "../../dist/engine/plan/step-time.js";
import { createStepPlanner } from "../../dist/engine/plan/step-work.js";
import { profileSteps } from "../../dist/engine/profile/profile-step.js";
import { measureUsualCeilings } from "../../dist/kernels/ceilings.js";
import { createOps } from "../../dist/kernels/create-ops.js";
import { loadModel } from "../../dist/model/load-model.js";
import { watchOthers } from "./machine-load.mjs";
import { parseFlags } from "./parse-flags.mjs";
import { benchServers } from "./suite/servers.mjs";

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    dtype: { type: "string", default: "auto" },
    rounds: { type: "string", default: "2" },
    cycles: { type: "string", default: "5" },
    decode: { type: "string", default: "1,4,16" },
    prefill: { type: "string", default: "128,512" },
  },
});
const [recordFile, model] = positionals;
const stepCosts = stepCostsOf(describeOps().isa);
if (recordFile === undefined) {
  console.error("usage: fit-step-time.mjs RECORD [MODEL] (--help tells more)");
  process.exit(2);
}

/** Of the load that a server gets, as tests/perf/plan-vs-real.mjs gives it. */
const inputTokens = 128;
const outputTokens = 64;
const concurrencies = [1, 16];
const contextLength = inputTokens + outputTokens / 2;

/** A round is measured again, so often at most, when others used more of the machine, or its probes differ by more. */
const mostOthers = 0.05;
const mostDrift = 0.1;
const mostTries = 4;

const numbers = (list) => list.split(",").map(Number);
/** The median. */
function middle(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}
const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);

const shapes = [
  ...numbers(flags.decode).map((numSequences) => ({
    label: `decode ${numSequences}`,
    numSequences,
    numTokens: 1,
    contextLength,
  })),
  ...numbers(flags.prefill).map((numTokens) => ({
    label: `prefill ${numTokens}`,
    numSequences: 1,
    numTokens,
    contextLength: numTokens,
  })),
];

/** Steps of all shapes in turn, a few of each in a row: the first of them finds other weights in the caches. */
function profileInTurn(checkpoint, ceilings) {
  const { ops } = createOps({ numThreads: 0, backend: "native", isa: "auto", attentionDtype: "auto" });
  const inARow = shapes.flatMap((shape) => Array(shape.numTokens === 1 ? 5 : 2).fill(shape));
  try {
    const steps = profileSteps({
      ops,
      ceilings,
      shapes: Array.from({ length: Number(flags.cycles) }, () => inARow).flat(),
      numRepeats: 1,
      load: (profiled) => ({
        model: loadModel(profiled, checkpoint, { ...precision, maxModelLen: 1024 }).model,
        kvDtype: "f16",
      }),
    });
    return steps.filter(({ label }, index) => steps[index - 1]?.label === label);
  } finally {
    ops.close();
  }
}

/** [concurrencies] of what a server's clients see, milliseconds. */
async function loadServer() {
  const command =
    `${process.execPath} ${main} serve ${model} --port {port} --dtype ${flags.dtype} --max-num-seqs 32 ` +
    "--max-model-len 512 --max-num-batched-tokens 1024 --enable-prefix-caching off";
  const [{ rounds }] = await benchServers({
    servers: [{ name: "Millrace", command }],
    concurrencies,
    numRounds: 1,
    minRequests: 3,
    requestsPerSeat: 1,
    numWarmup: 1,
    vocabSize: 2000,
    inputTokens,
    outputTokens,
    onRound: () => {},
  });
  return rounds[0].stages;
}

const precision = { dtype: flags.dtype, activations: "auto" };

/** Equal operations of a kind together, so that the record stays small. */
function groupWork(work) {
  const counts = new Map();
  for (const operation of work) {
    const key = JSON.stringify(operation);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => ({ ...JSON.parse(key), count }));
}

/** By how much the machine's pace changed between two probes. */
function driftOf([before, after]) {
  const ratios = Object.keys(before).map((key) => before[key] / after[key]);
  return Math.max(...ratios.map((ratio) => Math.max(ratio, 1 / ratio))) - 1;
}

/** Probes, profiles and what a server does of one round, and the share of the machine that other processes used. */
async function measureRound(checkpoint, { isa, numThreads, weightBytes }) {
  const finishWatch = watchOthers();
  const before = measureUsualCeilings(isa, numThreads, weightBytes);
  const steps = profileInTurn(checkpoint, before);
  const served = await loadServer();
  const probes = [before, measureUsualCeilings(isa, numThreads, weightBytes)];
  const round = { probes, steps, served, others: finishWatch(), drift: driftOf(probes) };
  return { ...round, disturbance: Math.max(round.others / mostOthers, round.drift / mostDrift) };
}

/** A round again where it was disturbed; of several the least disturbed. */
async function measureQuietRound(checkpoint, kernels) {
  let quietest = await measureRound(checkpoint, kernels);
  for (let tries = 1; tries < mostTries && quietest.disturbance > 1; tries += 1) {
    const next = await measureRound(checkpoint, kernels);
    if (next.disturbance < quietest.disturbance) quietest = next;
  }
  return quietest;
}

async function measure() {
  const checkpoint = openModel(model);
  const planner = createStepPlanner(checkpoint, precision, "f16");
  const kernels = { ...describeOps(), weightBytes: planner.ops.weightBytes };
  const rounds = [];
  for (let round = 0; round < Number(flags.rounds); round += 1)
    rounds.push(await measureQuietRound(checkpoint, kernels));
  checkpoint.close();
  const probes = rounds.flatMap((round) => round.probes);
  const steps = rounds.flatMap((round) => round.steps);
  const middleOf = (objects, key) => middle(objects.map((object) => object[key]));
  const record = {
    model: `${path.basename(model)}${flags.dtype === "auto" ? "" : ` as ${flags.dtype}`}`,
    machine: `${os.cpus()[0].model}, ${kernels.isa}, ${kernels.numThreads} threads`,
    date: new Date().toISOString().slice(0, 10),
    others: Math.max(...rounds.map(({ others }) => others)),
    drift: Math.max(...rounds.map(({ drift }) => drift)),
    ceilings: Object.fromEntries(Object.keys(probes[0]).map((key) => [key, middleOf(probes, key)])),
    steps: shapes.map((shape) => {
      const own = steps.filter(({ label }) => label === shape.label);
      return { ...shape, kinds: kindsOf(own, planner.workOf(shape)) };
    }),
    served: concurrencies.map((concurrency, index) => {
      const stages = rounds.map(({ served }) => served[index]);
      const keys = ["itlMs", "ttftMs", "outputTokensPerSecond"];
      return { concurrency, ...Object.fromEntries(keys.map((key) => [key, middleOf(stages, key)])) };
    }),
  };
  appendFileSync(recordFile, `${JSON.stringify(record)}\n`);
}

function describeOps() {
  const { ops } = createOps({ numThreads: 0, backend: "native", isa: "auto", attentionDtype: "auto" });
  const { isa, numThreads } = ops;
  ops.close();
  return { isa, numThreads };
}

/** Seconds and work of each kind of operation. */
function kindsOf(profiles, work) {
  return [...new Set(work.map(({ kind }) => kind))].map((kind) => ({
    kind,
    seconds: middle(profiles.map(({ kinds }) => kinds.find((each) => each.kind === kind).seconds)),
    work: groupWork(work.filter((operation) => operation.kind === kind)),
  }));
}

/** Of all operations of a step, by its label. */
const secondsOf = ({ steps }, wanted) =>
  sumOf(steps.find(({ label }) => label === wanted).kinds.map(({ seconds }) => seconds));

const foreseen = (work, ceilings, costs) =>
  sumOf(work.map(({ count, ...operation }) => count * stepSeconds([operation], { ceilings, costs })));

/** Costs as a list of numbers, and back. */
const paths = [
  ...Object.keys(stepCosts.weights).flatMap((kind) => [
    ["weights", kind, "unpack"],
    ["weights", kind, "perRow"],
  ]),
  ["attention", "perOperation"],
  ["attention", "perByte"],
  ["readShare"],
  ["perElement"],
  ["operationSeconds"],
  ["linearSeconds"],
];
const read = (costs, keys) => keys.reduce((value, key) => value[key], costs);
function withValue(costs, [key, ...rest], value) {
  return { ...costs, [key]: rest.length === 0 ? value : withValue(costs[key], rest, value) };
}

/** Nothing is read or multiplied faster than at the ceiling. */
const isPossible = ({ weights, attention, readShare }) =>
  readShare <= 1 && attention.perOperation >= 1 && Object.values(weights).every(({ perRow }) => perRow >= 1);

function errorOf(records, costs) {
  let error = 0;
  for (const { ceilings, steps } of records) {
    for (const { kinds } of steps) {
      const step = sumOf(kinds.map(({ seconds }) => seconds));
      const whole = sumOf(kinds.map(({ work }) => foreseen(work, ceilings, costs)));
      error += Math.log(whole / step) ** 2;
      for (const { seconds, work } of kinds)
        error += (seconds / step) * Math.log(foreseen(work, ceilings, costs) / seconds) ** 2;
    }
  }
  return error;
}

/** Goes up and down with one cost after the other, in ever finer steps. */
function fitCosts(records) {
  let costs = stepCosts;
  let least = errorOf(records, costs);
  for (let factor = 1.3; factor > 1.005; factor = Math.sqrt(factor)) {
    for (let hasChanged = true; hasChanged; ) {
      hasChanged = false;
      for (const keys of paths) {
        for (const by of [factor, 1 / factor]) {
          const next = withValue(costs, keys, read(costs, keys) * by);
          const error = errorOf(records, next);
          if (error > least * 0.9999 || !isPossible(next)) continue;
          [costs, least, hasChanged] = [next, error, true];
        }
      }
    }
  }
  return costs;
}

/** What steps and requests take beyond their operations: the middle one over the models. */
function fitServing(records) {
  const beside = (record, { concurrency, itlMs }) =>
    itlMs / 1000 - secondsOf(record, `decode ${concurrency}`);
  const [few, many] = concurrencies.map((_, index) =>
    middle(records.map((record) => beside(record, record.served[index]))),
  );
  const tokenSeconds = (many - few) / (concurrencies[1] - concurrencies[0]);
  const requests = records.map(
    (record) => record.served[0].ttftMs / 1000 - secondsOf(record, `prefill ${inputTokens}`),
  );
  return {
    stepSeconds: few - concurrencies[0] * tokenSeconds,
    tokenSeconds,
    requestSeconds: middle(requests),
  };
}

const percent = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(0)} %`;

function printRecord(record, costs) {
  const { model: name, ceilings, steps, served, others, drift } = record;
  const giga = Object.values(ceilings).map((value) => (value / 1e9).toFixed(0));
  console.log(
    `${name}: ceilings ${giga.join(", ")}; others used ${(100 * others).toFixed(0)} % of the machine, drift ${(100 * drift).toFixed(0)} %`,
  );
  for (const { label, kinds } of steps) {
    const real = sumOf(kinds.map(({ seconds }) => seconds));
    const errors = kinds
      .filter(({ seconds }) => seconds > 0.03 * real)
      .map(({ kind, seconds, work }) => {
        const share = (100 * seconds) / real;
        return `${kind} (${share.toFixed(0)}) ${percent(foreseen(work, ceilings, costs) / seconds - 1)}`;
      });
    const whole = sumOf(kinds.map(({ work }) => foreseen(work, ceilings, costs)));
    console.log(
      `  ${label.padEnd(12)} ${(1000 * real).toFixed(2).padStart(8)} ms ${percent(whole / real - 1)}: ${errors.join(", ")}`,
    );
  }
  for (const { concurrency, itlMs, ttftMs } of served) {
    const beside = itlMs - 1000 * secondsOf(record, `decode ${concurrency}`);
    console.log(
      `  served, ${concurrency}: ITL ${itlMs.toFixed(2)} ms, ${beside.toFixed(2)} beside the operations; TTFT ${ttftMs.toFixed(0)} ms`,
    );
  }
}

if (model !== undefined) await measure();
const records = existsSync(recordFile)
  ? readFileSync(recordFile, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
  : [];
const costs = fitCosts(records);
console.log(`${"shape".padEnd(14)} real, and how far the fit is off; kinds with their percent of the step`);
for (const record of records) printRecord(record, costs);
const round = (_key, value) => (typeof value === "number" ? Number(value.toPrecision(3)) : value);
console.log(`stepCosts, ${errorOf(records, stepCosts).toFixed(3)} → ${errorOf(records, costs).toFixed(3)}:`);
console.log(JSON.stringify(costs, round, 2));
console.log("servingCosts, before and fitted:");
console.log(JSON.stringify(servingCosts), JSON.stringify(fitServing(records), round));
