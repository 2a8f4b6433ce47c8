// How much of its speed the engine keeps while other processes use the same cores. Needs `npm run build` and
// `npm run build:native`.
//
//   node tests/perf/beside-busy.mjs MODEL [--busy 0,2] [--sequences 1] [--tokens 128] [--rounds 5] [--threads 0]
//     [--against FOLDER]
//
// Decodes with nothing beside it and beside that many processes that only loop, in turn, and prints the medians in
// tokens per second with their spread and the ratio to nothing beside. `--against` measures another build of this
// repository in the same rounds: its folder.
import { spawn } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "./parse-flags.mjs";

const script = fileURLToPath(import.meta.url);
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    busy: { type: "string", default: "0,2" },
    sequences: { type: "string", default: "1" },
    tokens: { type: "string", default: "128" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "0" },
    against: { type: "string" },
    /** Set in the processes that measure. */
    root: { type: "string" },
  },
});
const [modelPath] = positionals;
if (modelPath === undefined) {
  console.error("usage: beside-busy.mjs MODEL (--help tells more)");
  process.exit(2);
}

/** Prints the tokens per second of one engine. */
async function measure(root) {
  const { defaultEngineOptions } = await import(path.join(root, "dist/engine/engine-options.js"));
  const { createInProcessClient } = await import(path.join(root, "dist/engine/in-process-client.js"));
  const { loadEngine } = await import(path.join(root, "dist/engine/load-engine.js"));
  const { defaultSampling } = await import(path.join(root, "dist/protocol/sampling-params.js"));
  const numSeqs = Number(flags.sequences);
  const options = { ...defaultEngineOptions(modelPath), maxModelLen: 1024, maxNumSeqs: numSeqs, seed: 1 };
  const client = createInProcessClient(await loadEngine({ ...options, numThreads: Number(flags.threads) }));
  const answer = async (name, maxTokens) => {
    const sampling = { ...defaultSampling, maxTokens, temperature: 0, ignoreEos: true };
    const promptTokenIds = [1, 2, 3, 4, 5, 6, 7, 8];
    for await (const _output of client.generate({ requestId: name, promptTokenIds, sampling }));
  };
  const answerAll = (name, maxTokens) =>
    Promise.all(Array.from({ length: numSeqs }, (_, index) => answer(`${name}${index}`, maxTokens)));
  await answerAll("warm", 8);
  const beganMs = performance.now();
  await answerAll("timed", Number(flags.tokens));
  const seconds = (performance.now() - beganMs) / 1000;
  await client.close();
  console.log((numSeqs * Number(flags.tokens)) / seconds);
}

function run(root) {
  return new Promise((resolve, reject) => {
    const args = [script, ...process.argv.slice(2), "--root", root];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part) => (text += part));
    child.once("exit", (code) =>
      code === 0 ? resolve(Number(text)) : reject(new Error(`a measurement ended with ${code}`)),
    );
  });
}

async function runBeside(root, numBusy) {
  const loops = Array.from({ length: numBusy }, () => spawn(process.execPath, ["-e", "for (;;);"]));
  try {
    return await run(root);
  } finally {
    for (const loop of loops) loop.kill("SIGKILL");
  }
}

async function compare() {
  const here = path.resolve(path.dirname(script), "../..");
  const roots = flags.against === undefined ? [here] : [path.resolve(flags.against), here];
  const names = roots.length === 1 ? ["this build"] : ["other build", "this build"];
  const counts = flags.busy.split(",").map(Number);
  const rates = roots.map(() => counts.map(() => []));
  for (let round = 0; round < Number(flags.rounds); round += 1) {
    for (const [at, numBusy] of counts.entries()) {
      // Who goes first alternates, so that a machine that becomes slower favours neither.
      const order = round % 2 === 0 ? roots.keys() : [...roots.keys()].reverse();
      for (const index of order) rates[index][at].push(await runBeside(roots[index], numBusy));
    }
  }
  console.log("build        busy beside   tokens/s median    least     most   ratio to the first");
  for (const [index, name] of names.entries()) {
    const sorted = rates[index].map((values) => values.toSorted((a, b) => a - b));
    const median = (values) => values[values.length >> 1];
    for (const [at, values] of sorted.entries()) {
      const cells = [median(values), values[0], values.at(-1)].map((rate) => rate.toFixed(1).padStart(9));
      const ratio = (median(values) / median(sorted[0])).toFixed(2);
      console.log(
        `${name.padEnd(13)}${String(counts[at]).padStart(11)}${cells.join("").padStart(35)}${ratio.padStart(21)}`,
      );
    }
  }
}

await (flags.root === undefined ? compare() : measure(flags.root));
