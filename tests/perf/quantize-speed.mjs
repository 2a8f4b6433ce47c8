// How long `millrace quantize` takes, and its memory beside what it states. Needs `npm run build`, `npm run build:native`
// and Linux for /proc.
//
//   node tests/perf/quantize-speed.mjs MODEL [--schemes w4a16,w8a8,q4_0,q4_k_m] [--methods rtn,mse] [--rounds 3]
//     [--group-size 32] [--max-memory 1GiB] [--peer FILE.gguf --llama-quantize PROGRAM] [--out FOLDER]
//
// Prints medians with their spread, from the start of the process to its end, and fails where the peak of a run is more than
// a tenth off what was stated, on either side. MODEL of float weights is a folder or a GGUF file. With --llama-quantize the
// schemes of GGUF are made by that program too, on two threads, from FILE.gguf, which holds the same weights.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "./parse-flags.mjs";

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const text = { type: "string" };
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    schemes: { ...text, default: "w4a16,w8a8,q4_0,q4_k_m" },
    methods: { ...text, default: "rtn,mse" },
    rounds: { ...text, default: "3" },
    "group-size": text,
    "max-memory": text,
    peer: text,
    "llama-quantize": text,
    out: text,
  },
});
const [model] = positionals;
if (model === undefined || (flags.peer === undefined) !== (flags["llama-quantize"] === undefined)) {
  console.error("usage: quantize-speed.mjs MODEL (--help tells more)");
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

function describe(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, middle, most] = [0, sorted.length >> 1, sorted.length - 1].map((at) => sorted[at].toFixed(2));
  return `${middle} s (${least}…${most})`;
}

async function measure(program, args, made) {
  const runs = [];
  for (let round = 0; round < Number(flags.rounds); round += 1) {
    rmSync(made, { recursive: true, force: true });
    runs.push(await time(program, args));
  }
  rmSync(made, { recursive: true, force: true });
  return runs;
}

const folder = flags.out ?? mkdtempSync(path.join(tmpdir(), "quantize-speed-"));
const made = path.join(folder, "made");
let isWithin = true;
for (const scheme of flags.schemes.split(",")) {
  const isBlocks = /^q\d/.test(scheme);
  const seconds = (runs) => runs.map((run) => run.seconds);
  if (isBlocks && flags.peer !== undefined) {
    const args = ["--allow-requantize", flags.peer, made, scheme.toUpperCase(), "2"];
    const runs = await measure(flags["llama-quantize"], args, made);
    console.log(`${scheme} llama-quantize: ${describe(seconds(runs))}`);
  }
  for (const method of flags.methods.split(",")) {
    const group = scheme.startsWith("w4") && flags["group-size"] ? ["--group-size", flags["group-size"]] : [];
    const limit = flags["max-memory"] === undefined ? [] : ["--max-memory", flags["max-memory"]];
    const args = ["quantize", model, "--scheme", scheme, "--method", method, ...group, ...limit];
    const runs = await measure(process.execPath, [main, ...args, "--out", made], made);
    const stated = statedBytes(runs[0].said);
    const peaks = runs.map(({ peakBytes }) => peakBytes).sort((a, b) => a - b);
    const isOff = peaks.some((peak) => Math.abs(peak / stated - 1) > memoryMargin);
    isWithin &&= !isOff;
    const [least, most, told] = [peaks[0], peaks.at(-1), stated].map((bytes) => (bytes / 1e6).toFixed(0));
    const memory = `peak ${least}…${most} MB of ${told} MB stated`;
    console.log(`${scheme} ${method}: ${describe(seconds(runs))}, ${memory}${isOff ? ", which is off" : ""}`);
  }
}
if (flags.out === undefined) rmSync(folder, { recursive: true });
process.exit(isWithin ? 0 : 1);
