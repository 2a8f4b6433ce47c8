// How long `millrace quantize` takes beside other tools, and its memory beside what it states. Needs `npm run build`,
// `npm run build:native` and Linux for /proc.
//
//   node tests/perf/quantize-speed.mjs MODEL [--schemes w4a16,w8a8,q4_0,q4_k_m] [--methods rtn,mse] [--rounds 3]
//     [--group-size 32] [--max-memory 1GiB] [--calibration FILE [--tokenizer FILE]] [--out FOLDER]
//     [--peer FILE.gguf --llama-quantize PROGRAM] [--llm-compressor PYTHON]
//
// Prints medians with their spread, from the start of the process to its end, and fails where the peak of a run is more than
// a tenth off what was stated, on either side. MODEL of float weights is a folder or a GGUF file. With --llama-quantize the
// schemes of GGUF are made by that program too, on two threads, from FILE.gguf, which holds the same weights; with
// --llm-compressor w8a8 and w4a16 are made by it too, by rtn, or by gptq with the token ids of --calibration. Each scheme's
// runs go by turns; the ratio is that of the medians, others over ours.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "./parse-flags.mjs";

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const compressor = fileURLToPath(new URL("../peers/llm_compressor.py", import.meta.url));
const text = { type: "string" };
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    schemes: { ...text, default: "w4a16,w8a8,q4_0,q4_k_m" },
    methods: { ...text, default: "rtn,mse" },
    rounds: { ...text, default: "3" },
    "group-size": { ...text, default: "32" },
    "max-memory": text,
    calibration: text,
    tokenizer: text,
    peer: text,
    "llama-quantize": text,
    "llm-compressor": text,
    out: text,
  },
});
const [model] = positionals;
if (model === undefined || (flags.peer === undefined) !== (flags["llama-quantize"] === undefined)) {
  console.error("usage: quantize-speed.mjs MODEL (--help tells more)");
  process.exit(2);
}
const needsText = (method) => ["gptq", "imatrix"].includes(method);
if (flags.calibration === undefined && flags.methods.split(",").some(needsText)) {
  console.error("gptq and imatrix need a text or token ids: --calibration FILE");
  process.exit(2);
}
const memoryMargin = 0.1;
const units = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** Runs a program to its end: seconds, the most memory it held, and what it said. */
function time(program, args) {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (part) => (said += part));
    let peakBytes = 0;
    const watch = setInterval(() => (peakBytes = Math.max(peakBytes, peakOf(child.pid))), 20);
    child.once("close", (status) => {
      clearInterval(watch);
      if (status !== 0) reject(new Error(`${program} ended with ${status}:\n${said}`));
      else resolve({ seconds: (performance.now() - started) / 1000, peakBytes, said });
    });
    child.once("error", reject);
  });
}

/** Most memory that a process had so far, the program itself and pages of mapped files with it. */
function peakOf(pid) {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

function statedBytes(said) {
  const [, amount, unit] = /at most ([\d.]+) (KiB|MiB|GiB) of memory/.exec(said);
  return Number(amount) * units[unit];
}

function middleOf(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

function describe(values) {
  const [least, middle, most] = [Math.min(...values), middleOf(values), Math.max(...values)];
  return `${middle.toFixed(2)} s (${least.toFixed(2)}…${most.toFixed(2)})`;
}

const folder = flags.out ?? mkdtempSync(path.join(tmpdir(), "quantize-speed-"));
const made = path.join(folder, "made");

function ourRun(scheme, method) {
  const args = ["quantize", model, "--scheme", scheme, "--method", method, "--out", made];
  if (scheme.startsWith("w4")) args.push("--group-size", flags["group-size"]);
  if (flags["max-memory"]) args.push("--max-memory", flags["max-memory"]);
  if (flags.tokenizer) args.push("--tokenizer", flags.tokenizer);
  if (needsText(method)) args.push("--calibration", flags.calibration);
  return { name: `${scheme} ${method}`, method, program: process.execPath, args: [main, ...args] };
}

/** What other tools make in the same form, by the same method where they have it. */
function otherRuns(scheme, methods) {
  if (/^q\d/.test(scheme)) {
    if (flags.peer === undefined) return [];
    const args = ["--allow-requantize", flags.peer, made, scheme.toUpperCase(), "2"];
    return [{ name: `${scheme} llama-quantize`, program: flags["llama-quantize"], args }];
  }
  const form = { w8a8: "w8a8", w4a16: `w4a16-g${flags["group-size"]}` }[scheme];
  if (flags["llm-compressor"] === undefined || form === undefined) return [];
  return methods
    .filter((method) => ["rtn", "gptq"].includes(method))
    .map((method) => ({
      name: `${scheme} llm-compressor ${method}`,
      method,
      program: flags["llm-compressor"],
      args: [compressor, model, made, form, method, needsText(method) ? flags.calibration : "-"],
    }));
}

async function byTurns(runs) {
  const results = runs.map(() => []);
  for (let round = 0; round < Number(flags.rounds); round += 1) {
    for (const [at, { program, args }] of runs.entries()) {
      rmSync(made, { recursive: true, force: true });
      results[at].push(await time(program, args));
    }
  }
  rmSync(made, { recursive: true, force: true });
  return results;
}

/** Whether every run held as much memory as was stated. */
function printOurs(name, runs) {
  const stated = statedBytes(runs[0].said);
  const peaks = runs.map(({ peakBytes }) => peakBytes);
  const isOff = peaks.some((peak) => Math.abs(peak / stated - 1) > memoryMargin);
  const [least, most, told] = [Math.min(...peaks), Math.max(...peaks), stated].map((bytes) =>
    (bytes / 1e6).toFixed(0),
  );
  const memory = `peak ${least}…${most} MB of ${told} MB stated${isOff ? ", which is off" : ""}`;
  console.log(`${name}: ${describe(runs.map((run) => run.seconds))}, ${memory}`);
  return !isOff;
}

let isWithin = true;
for (const scheme of flags.schemes.split(",")) {
  const methods = flags.methods.split(",");
  const ours = methods.map((method) => ourRun(scheme, method));
  const others = otherRuns(scheme, methods);
  const results = await byTurns([...ours, ...others]);
  for (const [at, { name }] of ours.entries()) isWithin = printOurs(name, results[at]) && isWithin;
  for (const [at, { name, method }] of others.entries()) {
    const seconds = results[ours.length + at].map((run) => run.seconds);
    const ratios = ours.flatMap((own, i) => {
      if (method !== undefined && method !== own.method) return [];
      const ratio = middleOf(seconds) / middleOf(results[i].map((run) => run.seconds));
      return [`${ratio.toFixed(1)}× that of ${own.name}`];
    });
    console.log(`${name}: ${describe(seconds)}, ${ratios.join(", ")}`);
  }
}
if (flags.out === undefined) rmSync(folder, { recursive: true });
process.exit(isWithin ? 0 : 1);
