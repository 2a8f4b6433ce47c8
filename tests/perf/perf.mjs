// `npm run perf`: the machine's ceilings, the kernels beside them, and Millrace's server beside others, in one record.
//
//   npm run perf -- [--model FILE] [--peer "llama.cpp=llama-server -m FILE -t 2 -np 32 -c 16384 --port {port}"]... \
//     [--parts kernels,servers] [--concurrency 1,8,32] [--input 128] [--output 64] [--rounds 3] [--form int4] \
//     [--rows 1,8,32,128,512] [--requests 4] [--warmup 2] [--out docs/performance.json]
//
// In each round and at each number in flight, servers answer two requests a seat, at least --requests, after
// --warmup (one a seat where --requests is 1).
//
// A peer without a server has {concurrency} in its command instead, a list such as 1,8,32, and prints a line with "batch N"
// and "outTps X" for each: output tokens per second of N prompts at once, of the same lengths, without HTTP.
//
// Needs a quiet machine, `npm run build` and `npm run build:native`. Parts that are not run, and loads of other models or
// lengths, are kept from the record that --out names. `node scripts/generate-docs.mjs` makes docs/performance.md of docs/performance.json.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { version } from "../../dist/base/version.js";
import { nativeStatus } from "../../dist/kernels/create-ops.js";
import { parseFlags } from "./parse-flags.mjs";
import { performancePage } from "./performance-page.mjs";
import { benchAttentions } from "./suite/attention.mjs";
import { watchCeilings } from "./suite/ceiling-watch.mjs";
import { benchLinears } from "./suite/linears.mjs";
import { benchServers } from "./suite/servers.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values: flags } = parseFlags({
  options: {
    model: { type: "string", default: path.join(root, "models/pebble/model") },
    peer: { type: "string", multiple: true, default: [] },
    parts: { type: "string", default: "kernels,servers" },
    concurrency: { type: "string", default: "1,8,32" },
    input: { type: "string", default: "128" },
    output: { type: "string", default: "64" },
    rounds: { type: "string", default: "3" },
    requests: { type: "string", default: "4" },
    warmup: { type: "string", default: "2" },
    vocab: { type: "string", default: "2000" },
    serve: { type: "string", default: "--max-num-seqs 32 --max-model-len 1024" },
    form: { type: "string", default: "" },
    rows: { type: "string", default: "1,8,32,128,512" },
    threads: { type: "string" },
    out: { type: "string" },
  },
});

const status = nativeStatus();
if (!status.available) throw new Error(`The native kernels are not available: ${status.reason}`);
const isa = status.isas[0];
const numThreads = Number(flags.threads ?? status.numThreads);
const parts = flags.parts.split(",");
const before = flags.out && existsSync(flags.out) ? JSON.parse(readFileSync(flags.out, "utf8")) : {};
const record = {
  ...before,
  kind: "performance",
  version: 1,
  millrace: version,
  date: new Date().toISOString().slice(0, 10),
  machine: `${os.cpus()[0]?.model ?? "unknown"}, ${numThreads} threads, ${isa}`,
};

if (parts.includes("kernels")) {
  const watch = watchCeilings(isa, numThreads);
  const rowCounts = flags.rows.split(",").map(Number);
  const linears = benchLinears({ isa, numThreads, watch, rowCounts, filter: flags.form });
  const attention = benchAttentions({ isa, numThreads, watch });
  record.kernels = { ceilings: watch.readings(), linears, attention };
}
if (parts.includes("servers")) {
  const ours = `${process.execPath} ${root}/dist/cli/main.js serve ${flags.model} --port {port} ${flags.serve}`;
  const peers = flags.peer.map((text) => {
    const at = text.indexOf("=");
    if (at < 1 || !/\{(port|concurrency)\}/.test(text))
      throw new Error(`--peer ${text}: it takes NAME=COMMAND, with {port} or {concurrency} in the command.`);
    return { name: text.slice(0, at), command: text.slice(at + 1) };
  });
  const results = await benchServers({
    servers: [{ name: "Millrace", command: ours }, ...peers],
    concurrencies: flags.concurrency.split(",").map(Number),
    numRounds: Number(flags.rounds),
    vocabSize: Number(flags.vocab),
    inputTokens: Number(flags.input),
    outputTokens: Number(flags.output),
    minRequests: Number(flags.requests),
    numWarmup: Number(flags.warmup),
    onRound: (round, name, stages, others) => {
      const rates = stages.map((s) => `${s.concurrency}: ${s.outputTokensPerSecond.toFixed(1)}`).join(", ");
      const load = `${(100 * others).toFixed(0)} % of the machine used by others`;
      console.error(`round ${round + 1}, ${name}, output tokens/s by number in flight: ${rates}; ${load}`);
    },
  });
  // Commands hold paths of this machine, which are nobody's business in a record.
  const servers = results.map(({ name, rounds }) => ({ name, rounds }));
  const load = { model: path.basename(flags.model), inputTokens: +flags.input, outputTokens: +flags.output };
  const isSame = (other) => Object.keys(load).every((key) => other[key] === load[key]);
  record.loads = [...(before.loads ?? []).filter((other) => !isSame(other)), { ...load, servers }];
}
if (flags.out) writeFileSync(flags.out, `${JSON.stringify(record, null, 1)}\n`);
console.log(performancePage(record));
