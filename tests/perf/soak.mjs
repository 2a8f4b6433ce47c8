// A server under many streams, for long: random requests of which a fifth is left by its client, and every now and then
// a SIGTERM under load. Needs `npm run build`, and Linux for /proc.
//
//   node tests/perf/soak.mjs [MODEL] [--minutes 10] [--streams 200] [--drains 3] [--seed 1]
//
// The time is divided into as many lives of the server as there are drains. In each, clients ask for a tenth of the time to
// warm up, then for the rest of it; before and after that rest the idle server is asked for its heap, its handles and its
// blocks. The life ends by SIGTERM with all clients waiting for answers. Fails where an answer failed or was cut, where a
// client was refused before the signal, where blocks, sequences or files are left over, and where the heap grew by more
// than 8 MB.
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "./parse-flags.mjs";
import { randomFrom, startClients } from "./soak-clients.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    minutes: { type: "string", default: "10" },
    streams: { type: "string", default: "200" },
    drains: { type: "string", default: "3" },
    seed: { type: "string", default: "1" },
  },
});
const model = positionals[0] ?? path.join(root, "models/pebble/model");
const [minutes, streams, drains] = [flags.minutes, flags.streams, flags.drains].map(Number);
const random = randomFrom(Number(flags.seed));
const lifeMs = (minutes * 60_000) / drains;
const maxHeapGrowthBytes = 8e6;
/** Of a life under load before its server is told to end. */
const loadBeforeDrainMs = 2000;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

async function startServer() {
  const probe = path.join(root, "tests/perf/process-probe.mjs");
  const main = path.join(root, "dist/cli/main.js");
  const child = spawn(
    process.execPath,
    ["--expose-gc", "--import", probe, main, "serve", model, "--port", "0"],
    { stdio: ["ignore", "ignore", "pipe", "ipc"] },
  );
  let log = "";
  const url = await new Promise((resolve, reject) => {
    child.stderr.setEncoding("utf8").on("data", (part) => {
      log += part;
      const found = /Listening on (http:\S+)\n/.exec(log)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("exit", () => reject(new Error(`serve ended before it listened:\n${log}`)));
  });
  while ((await fetch(`${url}/health`)).status !== 200) await wait(50);
  return { child, url };
}

/** What an idle server holds. Connections of clients that are gone are given a moment to close. */
async function holdings({ child, url }) {
  await wait(500);
  child.send("how are you");
  const [state] = await once(child, "message");
  const text = await (await fetch(`${url}/metrics`, { headers: { connection: "close" } })).text();
  const metric = (name) => Number(new RegExp(`^${name}\\{.*\\} (\\S+)$`, "m").exec(text)?.[1]);
  return {
    ...state,
    numRunning: metric("vllm:num_requests_running"),
    numWaiting: metric("vllm:num_requests_waiting"),
    blockShare: metric("vllm:kv_cache_usage_perc"),
  };
}

function show(
  label,
  { heapBytes, rssBytes, handles, numFiles, blockShare, numRunning, numWaiting, loopDelayMs },
) {
  const delays = Object.entries(loopDelayMs).map(([name, ms]) => `${name} ${ms.toFixed(1)}`);
  const held = Object.entries(handles).map(([name, count]) => `${name} ${count}`);
  console.log(
    `  ${label}: heap ${megabytes(heapBytes)}, resident ${megabytes(rssBytes)}, files ${numFiles}, ${held.join(", ")}; ` +
      `blocks in use ${(100 * blockShare).toFixed(1)} %, running ${numRunning}, waiting ${numWaiting}; ` +
      `event-loop delay in ms: ${delays.join(", ")}`,
  );
}

/** What must not be, of a life's two readings. */
function leftOver(before, after) {
  const faults = [];
  if (after.numRunning + after.numWaiting > 0) faults.push("sequences are left over");
  if (after.blockShare !== 0) faults.push("blocks are left over");
  if (after.numFiles > before.numFiles)
    faults.push(`${after.numFiles - before.numFiles} files are left open`);
  const growth = after.heapBytes - before.heapBytes;
  if (growth > maxHeapGrowthBytes) faults.push(`the heap grew by ${megabytes(growth)}`);
  return faults;
}

function tell(label, { outcomes, details }) {
  const counts = Object.entries(outcomes).map(([kind, count]) => `${count} ${kind}`);
  console.log(`  ${label}: ${counts.join(", ")}`);
  for (const detail of [...new Set(details)].slice(0, 5)) console.log(`    ${detail}`);
}

/** All clients to their ends while nothing is wrong with the server. */
async function load(label, { url }, ms) {
  const clients = startClients(url, streams, random);
  await wait(ms);
  await clients.end();
  tell(label, clients);
  const { refused, cut, unanswered, failed } = clients.outcomes;
  return refused + cut + unanswered + failed === 0 ? [] : [`${label}: answers failed`];
}

async function drain({ child, url }) {
  const clients = startClients(url, streams, random);
  await wait(loadBeforeDrainMs);
  // The channel to it would keep it from ending.
  child.disconnect();
  clients.strike();
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  await clients.ended;
  tell(`SIGTERM under load, exit code ${code}`, clients);
  const { cut, unanswered, failed } = clients.outcomes;
  return code === 0 && cut + unanswered + failed === 0
    ? []
    : ["SIGTERM under load: accepted requests were lost"];
}

async function live() {
  const server = await startServer();
  try {
    const faults = await load("warm-up", server, lifeMs / 10);
    const before = await holdings(server);
    show("before", before);
    faults.push(...(await load("under load", server, Math.max(0, lifeMs * 0.9 - loadBeforeDrainMs))));
    const after = await holdings(server);
    show("after", after);
    return [...faults, ...leftOver(before, after), ...(await drain(server))];
  } finally {
    server.child.kill("SIGKILL");
  }
}

const faults = [];
for (let life = 1; life <= drains; life += 1) {
  console.log(`life ${life} of ${drains}: ${streams} streams for ${(lifeMs / 1000).toFixed(0)} s`);
  faults.push(...(await live()));
}
for (const fault of faults) console.log(`FAULT ${fault}`);
console.log(faults.length === 0 ? "no faults" : `${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
