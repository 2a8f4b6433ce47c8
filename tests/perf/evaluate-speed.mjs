// `millrace evaluate` beside lm-eval: the same rows of the same model, whole commands from start to end, in alternating
// rounds. Needs a Python with lm-eval, torch and transformers, and a quiet machine.
//
//   node tests/perf/evaluate-speed.mjs MODEL --python venv/bin/python --data FOLDER [--tokenizer FOLDER]
//     [--settings f32,defaults,http] [--tasks arc_easy,hellaswag] [--limit 40] [--rounds 3]
//     [--batch-sizes 1,8,16,32,auto] [--batch-limit 50] [--out FOLDER]
//
// MODEL is a folder that transformers reads too; --tokenizer names the folder of its tokenizer where it has none.
//   f32       both in process, lm-eval with dtype=float32 and ours with --dtype float32 --activations f32
//   defaults  both in process, both without a word about types: lm-eval takes the checkpoint's
//   http      both against a server of ours, started anew for each run, so that nothing is in its caches
// Several --batch-sizes of lm-eval in process are tried on --batch-limit rows first, and the quickest is taken.
//
// Prints for each setting the seconds of both, their ratio with its range over the rounds, the scores of both, how many
// log-likelihoods are equal to the bit, and how many prompt tokens ours computed and found in its cache; over HTTP, the server's count of both for either. Seconds are the
// whole command's, wall and CPU, and those of the evaluation that either says itself, without its start.
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { startServer } from "../server-process.mjs";
import { compareRuns, readRun } from "./evaluation-runs.mjs";
import { createLmEval, localName, taskNames } from "./lm-eval.mjs";
import { watchOthers } from "./machine-load.mjs";
import { parseFlags } from "./parse-flags.mjs";

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const text = { type: "string" };
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    python: text,
    data: text,
    tokenizer: text,
    settings: { ...text, default: "f32,defaults,http" },
    tasks: { ...text, default: "arc_easy,hellaswag" },
    limit: { ...text, default: "40" },
    rounds: { ...text, default: "3" },
    "batch-sizes": { ...text, default: "1,8,16,32,auto" },
    "batch-limit": { ...text, default: "50" },
    out: { ...text, default: "out/evaluate-speed" },
  },
});
const [model] = positionals;
const taskList = flags.tasks.split(",");
const unknown = taskList.filter((name) => !taskNames.includes(name));
if (model === undefined || flags.python === undefined || flags.data === undefined || unknown.length > 0) {
  process.stderr.write(
    `MODEL, --python and --data are needed, and tasks of ${taskNames.join(", ")}; --help tells more.\n`,
  );
  process.exit(2);
}
const tokenizer = flags.tokenizer ?? model;
const limit = Number(flags.limit);
const numRounds = Number(flags.rounds);
const scratch = path.resolve(flags.out);
mkdirSync(scratch, { recursive: true });
const lmEval = createLmEval({ python: flags.python, data: flags.data, scratch });

/** Runs a command to its end: seconds of wall and CPU time, and the share of the machine that others used meanwhile. */
function run({ program, args, env = process.env }, name) {
  const log = path.join(scratch, `${name}.log`);
  return new Promise((resolve, reject) => {
    const beganMs = performance.now();
    const finishWatch = watchOthers();
    const cpuBefore = childSeconds();
    const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const file = createWriteStream(log);
    child.stdout.pipe(file, { end: false });
    child.stderr.pipe(file, { end: false });
    child.once("error", reject);
    child.once("close", (code) => {
      const seconds = (performance.now() - beganMs) / 1000;
      file.end();
      if (code === 0) resolve({ wall: seconds, cpu: childSeconds() - cpuBefore, others: finishWatch() });
      else reject(new Error(`${program} ended with ${code}; its words are in ${log}`));
    });
  });
}

/** CPU time of this process's children that have ended. Clock ticks in /proc are hundredths on every Linux of Node. */
function childSeconds() {
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ")[1].split(" ");
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

const clocks = ["wall", "cpu", "evaluation"];
/** A line for each task: scores of both, documents whose verdict differs, and how far log-likelihoods are apart. */
function describeTask({ task, scores, numDocuments, numDiffering, gaps }) {
  const told = scores.map(
    ({ metric, ours, theirs }) => `${metric} ${ours.toFixed(4)} / ${theirs.toFixed(4)}`,
  );
  const numEqual = gaps.filter((gap) => gap === 0).length;
  return (
    `  ${task}: ${told.join(", ")}; ${numDiffering} of ${numDocuments} documents judged otherwise; ` +
    `${numEqual} of ${gaps.length} log-likelihoods equal to the bit, greatest gap ${Math.max(...gaps).toExponential(1)}`
  );
}

const exactForm = ["--dtype", "float32", "--activations", "f32"];
const inProcess = (precision, ownArgs) => ({
  ours: () => ownCommand([model, ...ownArgs]),
  theirs: (batchSize, { limit: rows, out }) => {
    const modelArgs = `pretrained=${path.resolve(model)},tokenizer=${path.resolve(tokenizer)}${precision}`;
    const args = ["--model", "hf", "--model_args", modelArgs, "--device", "cpu", "--batch_size", batchSize];
    return lmEval({ args, taskList, limit: rows, out });
  },
  batchSizes: flags["batch-sizes"].split(","),
});
const settings = {
  f32: inProcess(",dtype=float32", exactForm),
  defaults: inProcess("", []),
  http: {
    isServed: true,
    ours: (url) => ownCommand([model, "--url", url]),
    theirs: (_batchSize, { out, url, servedModel }) => {
      const modelArgs = `model=${servedModel},base_url=${url}/v1/completions,tokenizer_backend=remote,num_concurrent=16`;
      return lmEval({
        args: ["--model", "local-completions", "--model_args", modelArgs],
        taskList,
        limit,
        out,
      });
    },
    batchSizes: ["1"],
  },
};

function ownCommand(args) {
  const splits = taskList.map((task) => `${task}=validation`).join(",");
  const rows = ["--tasks", taskList.join(","), "--split", splits, "--limit", String(limit)];
  return {
    program: process.execPath,
    args: [main, "evaluate", ...args, "--tokenizer", tokenizer, "--data", flags.data, ...rows],
  };
}

/** One run of either, with a server of its own where the setting has one. */
async function runSide(side, { name, setting, batchSize }) {
  const out = path.join(scratch, `${name}-${side}`);
  rmSync(out, { recursive: true, force: true });
  const server = setting.isServed
    ? await startServer((port) =>
        [process.execPath, main, "serve", model, "--tokenizer", tokenizer, "--port", port].map(String),
      )
    : null;
  try {
    const url = server?.url;
    if (side === "ours") {
      const command = setting.ours(url);
      const times = await run({ ...command, args: [...command.args, "--out", out] }, `${name}-ours`);
      return { ...times, ...readRun(out, taskList), served: await readServed(url) };
    }
    const servedModel =
      url === undefined ? null : (await (await fetch(`${url}/v1/models`)).json()).data[0].id;
    const times = await run(setting.theirs(batchSize, { limit, out, url, servedModel }), `${name}-lm-eval`);
    return { ...times, ...readRun(out, taskList, localName), served: await readServed(url) };
  } finally {
    await server?.stop();
  }
}

/**
 * Prompt tokens by the server's own count: looked up in its prefix cache, and computed. A scored prompt counts twice, for its
 * scores and for the one token that `echo` is asked with, which finds all but its last token. Null without a server.
 */
async function readServed(url) {
  if (url === undefined) return null;
  const text = await (await fetch(`${url}/metrics`)).text();
  const countOf = (name) =>
    Number(new RegExp(`^vllm:prefix_cache_${name}_total\\{.*\\} (\\d+)$`, "m").exec(text)[1]);
  return { lookedUp: countOf("queries"), computed: countOf("queries") - countOf("hits") };
}

/** The quickest of lm-eval's batch sizes on few rows. */
async function chooseBatchSize(name, { batchSizes, theirs }) {
  if (batchSizes.length === 1) return batchSizes[0];
  let best = { wall: Infinity };
  for (const batchSize of batchSizes) {
    const out = path.join(scratch, `${name}-batch-${batchSize}`);
    const command = theirs(batchSize, { limit: Number(flags["batch-limit"]), out });
    const { wall, cpu } = await run(command, `${name}-batch-${batchSize}`);
    console.log(
      `  lm-eval, batch size ${batchSize}, ${flags["batch-limit"]} rows: ${wall.toFixed(1)} s, CPU ${cpu.toFixed(0)} s`,
    );
    if (wall < best.wall) best = { wall, batchSize };
  }
  return best.batchSize;
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const spread = (values, digits) => {
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits));
  return `${median(values).toFixed(digits)}${values.length > 1 ? ` (${least} to ${most})` : ""}`;
};

async function measure(name) {
  const setting = settings[name];
  console.log(`${name}: ${taskList.join(", ")}, ${limit} rows each`);
  const batchSize = await chooseBatchSize(name, setting);
  const rounds = [];
  for (let round = 0; round < numRounds; round += 1) {
    const order = round % 2 === 0 ? ["ours", "theirs"] : ["theirs", "ours"];
    const sides = {};
    for (const side of order) sides[side] = await runSide(side, { name, setting, batchSize });
    rounds.push(sides);
  }
  const column = (side, key) => rounds.map((sides) => sides[side][key]);
  for (const [side, title] of [
    ["ours", "millrace"],
    ["theirs", setting.isServed ? "lm-eval" : `lm-eval, batch size ${batchSize}`],
  ])
    console.log(
      `  ${title}: ${clocks.map((clock) => `${clock} ${spread(column(side, clock), 1)} s`).join(", ")}; ` +
        `others used ${(100 * Math.max(...column(side, "others"))).toFixed(0)} % of the machine`,
    );
  const ratioOf = (clock) =>
    `${clock} ${spread(
      rounds.map(({ ours, theirs }) => theirs[clock] / ours[clock]),
      2,
    )}`;
  console.log(`  ratio: ${clocks.map(ratioOf).join(", ")}; ${numRounds} rounds`);
  const { ours, theirs } = rounds.at(-1);
  for (const compared of compareRuns(ours, theirs, taskList)) console.log(describeTask(compared));
  const { sent, cached } = ours.results.prompt_tokens;
  console.log(`  millrace: ${sent} prompt tokens, ${cached} from the cache, ${sent - cached} computed`);
  for (const [title, { served }] of [
    ["millrace", ours],
    ["lm-eval", theirs],
  ])
    if (served !== null)
      console.log(
        `  by the server's count, ${title}: ${served.computed} prompt tokens computed of ${served.lookedUp} looked up`,
      );
}

for (const name of flags.settings.split(",")) {
  if (settings[name] === undefined)
    throw new Error(`--settings has ${name}; there are ${Object.keys(settings)}`);
  await measure(name);
}
