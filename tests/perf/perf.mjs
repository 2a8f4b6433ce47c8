// `npm run perf`: the machine's ceilings, the kernels beside them, and Millrace's server beside others, in one record.
//
//   npm run perf -- --parts linears --form int4 --rows 1        a minute
//   npm run perf -- --model FILE --parts servers --peer "llama.cpp=llama-server -m FILE -t 2 -np 32 -c 16384 --port {port}"
//
//   --parts LIST        of linears, attention and servers (default: all)
//   --out FILE          keeps what is measured in this record, such as docs/performance.json
//   --threads N         of the kernels (default: as serve takes)
//   --form TEXT         only linears whose form holds this, such as "int8 channel" or "int4 g32"
//   --rows LIST         rows of the linears (default: 1,8,32,128,512)
//   --model FILE        what Millrace serves (default: models/pebble/model)
//   --serve FLAGS       of `millrace serve` (default: --max-num-seqs 32 --max-model-len 1024)
//   --peer NAME=COMMAND another server, once or more often; {port} is put in
//   --concurrency LIST  requests in flight (default: 1,8,32)
//   --input N           tokens of a prompt (default: 128)
//   --output N          tokens of an answer (default: 64)
//   --vocab N           prompts are random ids below this, the same for all servers (default: 2000)
//   --rounds N          each server once a round, in turn (default: 3)
//   --requests N        at least so many a stage, which has two a seat (default: 4)
//   --warmup N          requests before a stage, one a seat where --requests is 1 (default: 2)
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

const allParts = ["linears", "attention", "servers"];
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values: flags } = parseFlags({
  options: {
    model: { type: "string", default: path.join(root, "models/pebble/model") },
    peer: { type: "string", multiple: true, default: [] },
    parts: { type: "string", default: allParts.join(",") },
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
const numThreads = wholeNumbers("threads", flags.threads ?? String(status.numThreads))[0];
const parts = flags.parts.split(",");
for (const part of parts) {
  if (!allParts.includes(part)) refuse(`--parts has "${part}"; it takes ${allParts.join(", ")}.`);
}
const before = flags.out && existsSync(flags.out) ? JSON.parse(readFileSync(flags.out, "utf8")) : {};
const record = { ...before, kind: "performance", version: 1 };
/** When, where and by which version: parts and loads of a record are not all of one day. */
const origin = {
  millrace: version,
  date: new Date().toISOString().slice(0, 10),
  machine: `${os.cpus()[0]?.model ?? "unknown"}, ${numThreads} threads, ${isa}`,
};

if (parts.includes("linears")) {
  const watch = watchCeilings(isa, numThreads);
  const rowCounts = wholeNumbers("rows", flags.rows);
  const runs = benchLinears({ isa, numThreads, watch, rowCounts, filter: flags.form });
  if (runs.length === 0) refuse(`--form is "${flags.form}", which no form of weights holds.`);
  record.linears = { ...origin, ceilings: watch.readings(), runs };
}
if (parts.includes("attention")) {
  const watch = watchCeilings(isa, numThreads);
  record.attention = { ...origin, runs: benchAttentions({ isa, numThreads, watch }) };
}
if (parts.includes("servers")) {
  const ours = `${process.execPath} ${root}/dist/cli/main.js serve ${flags.model} --port {port} ${flags.serve}`;
  const peers = flags.peer.map((text) => {
    const at = text.indexOf("=");
    if (at < 1 || !/\{(port|concurrency)\}/.test(text))
      refuse(`--peer is "${text}"; it takes NAME=COMMAND, with {port} or {concurrency} in the command.`);
    return { name: text.slice(0, at), command: text.slice(at + 1) };
  });
  const results = await benchServers({
    servers: [{ name: "Millrace", command: ours }, ...peers],
    concurrencies: wholeNumbers("concurrency", flags.concurrency),
    numRounds: wholeNumbers("rounds", flags.rounds)[0],
    vocabSize: wholeNumbers("vocab", flags.vocab)[0],
    inputTokens: wholeNumbers("input", flags.input)[0],
    outputTokens: wholeNumbers("output", flags.output)[0],
    minRequests: wholeNumbers("requests", flags.requests)[0],
    numWarmup: wholeNumbers("warmup", flags.warmup, 0)[0],
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
  record.loads = [...(before.loads ?? []).filter((other) => !isSame(other)), { ...origin, ...load, servers }];
}
if (flags.out) writeFileSync(flags.out, `${JSON.stringify(record, null, 1)}\n`);
console.log(performancePage(record));

/** A list such as 1,8,32. */
function wholeNumbers(flag, text, least = 1) {
  const numbers = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (numbers.every((number) => Number.isInteger(number) && number >= least)) return numbers;
  return refuse(`--${flag} is "${text}"; it takes whole numbers of at least ${least}.`);
}

function refuse(message) {
  console.error(`${message} --help tells more.`);
  process.exit(2);
}
