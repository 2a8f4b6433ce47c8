// How long `millrace serve` takes from its start to its first token, and the most memory it holds. Needs
// `npm run build`, `npm run build:native` and Linux for /proc.
//
//   node tests/perf/start.mjs MODEL [--rounds 5] [--against FOLDER]
//
// Starts the server, waits until it listens and until it is ready, and asks for one token. Then 32 requests come at
// once, so that a step of the largest size runs and all of a small KV cache is in use. Prints medians with their spread,
// and fails when ready takes a second or the peak passes weights + KV cache + 150 MB. `--against` measures another build
// of this repository in the same rounds: its folder. A start before the first round brings model and program into the
// page cache.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "./parse-flags.mjs";

const here = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    against: { type: "string" },
  },
});
const [modelPath] = positionals;
if (modelPath === undefined) {
  console.error("usage: start.mjs MODEL (--help tells more)");
  process.exit(2);
}
const readyGoalMs = 1000;
const memoryGoalBytes = 150e6;
const numRequests = 32;
const promptCharacters = 900;
const serveFlags = ["--port", "0", "--kv-cache-memory-bytes", "128MiB", "--max-model-len", "2048"];

function startServer(root) {
  const args = [path.join(root, "dist/cli/main.js"), "serve", modelPath, ...serveFlags];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  const says = (pattern) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = pattern.exec(log);
        if (found !== null) resolve(found);
      };
      child.stderr.on("data", look);
      child.once("exit", () => reject(new Error(`serve ended before it said ${pattern}:\n${log}`)));
      look();
    });
  child.stderr.setEncoding("utf8").on("data", (part) => (log += part));
  return { child, says };
}

async function complete(url, prompt, maxTokens) {
  const body = JSON.stringify({ prompt, max_tokens: maxTokens, temperature: 0, ignore_eos: true });
  const response = await fetch(`${url}/v1/completions`, { method: "POST", body });
  if (!response.ok)
    throw new Error(`a request was answered with ${response.status}: ${await response.text()}`);
  await response.text();
}

/** Most memory that a process held so far, pages of mapped files included. */
const peakBytes = (pid) =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;

async function plannedBytes(url, part) {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^millrace:memory_bytes\\{.*part="${part}".*\\} (\\S+)$`, "m").exec(metrics)[1]);
}

async function measure(root) {
  const beganMs = performance.now();
  const since = () => performance.now() - beganMs;
  const { child, says } = startServer(root);
  try {
    const [, url] = await says(/Listening on (http:\S+)\n/);
    const listening = since();
    await says(/Ready: /);
    const ready = since();
    await complete(url, "Hello", 1);
    const firstToken = since();
    const weights = await plannedBytes(url, "weights");
    const startPeak = peakBytes(child.pid) - weights;
    const text = readFileSync(path.join(here, "ARCHITECTURE.md"), "utf8").slice(0, promptCharacters);
    const requests = Array.from({ length: numRequests }, (_, index) => complete(url, `${index} ${text}`, 8));
    await Promise.all(requests);
    const loadPeak = peakBytes(child.pid) - weights - (await plannedBytes(url, "kv_cache"));
    return { listening, ready, firstToken, startPeak, loadPeak };
  } finally {
    child.kill("SIGTERM");
    await new Promise((resolve) => child.once("exit", resolve));
  }
}

const roots = [...(flags.against === undefined ? [] : [path.resolve(flags.against)]), here];
const names = flags.against === undefined ? ["this build"] : ["other build", "this build"];
const runs = roots.map(() => []);
for (const root of roots) await measure(root);
for (let round = 0; round < Number(flags.rounds); round += 1) {
  // Who goes first alternates, so that a machine that becomes slower favours neither.
  const order = round % 2 === 0 ? [...roots.keys()] : [...roots.keys()].reverse();
  for (const index of order) runs[index].push(await measure(roots[index]));
}

const columns = {
  "listening ms": ({ listening }) => listening,
  "ready ms": ({ ready }) => ready,
  "first token ms": ({ firstToken }) => firstToken,
  "MB beside weights at the first token": ({ startPeak }) => startPeak / 1e6,
  "MB beside weights and KV cache in all": ({ loadPeak }) => loadPeak / 1e6,
};
const medianOf = (index, column) => {
  const sorted = runs[index].map(columns[column]).sort((a, b) => a - b);
  return { median: sorted[sorted.length >> 1], least: sorted[0], most: sorted.at(-1) };
};
for (const column of Object.keys(columns)) {
  const cells = names.map((name, index) => {
    const { median, least, most } = medianOf(index, column);
    return `${name} ${median.toFixed(0)} (${least.toFixed(0)} … ${most.toFixed(0)})`;
  });
  console.log(`${column.padEnd(38)}${cells.join("   ")}`);
}
const faults = [];
const last = roots.length - 1;
if (medianOf(last, "ready ms").median >= readyGoalMs) faults.push(`ready takes ${readyGoalMs} ms or more`);
if (medianOf(last, "MB beside weights and KV cache in all").median > memoryGoalBytes / 1e6)
  faults.push(`more than ${memoryGoalBytes / 1e6} MB beside weights and KV cache`);
for (const fault of faults) console.log(fault);
console.log(faults.length === 0 ? "all goals are met" : "FAILED");
process.exit(faults.length === 0 ? 0 : 1);
