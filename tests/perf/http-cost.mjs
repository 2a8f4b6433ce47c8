// What HTTP and streaming cost: a server over an engine that computes nothing, and clients that read its streams. Needs
// `npm run build`.
//
//   node tests/perf/http-cost.mjs [MODEL] [--streams 64] [--tokens 512] [--rounds 7] [--llama-server PROGRAM]
//     [--vllm PROGRAM]
//
// Each round, all clients ask for a chat of so many tokens at once. Shows tokens per second through HTTP, and the
// processor time of the server's process per token, as the median of the rounds with the fastest and the slowest. The
// scripted engine's own share is measured by reading it without a server.
//
// With llama.cpp's server, and Linux for /proc, two more take part by turns: ours and llama.cpp's, both with MODEL as a
// Q8_0 file of GGUF and one thread. Their figures include their engines, which for a tiny model are the smaller the
// cheaper its step is; no figure here is of llama.cpp's HTTP alone. vLLM serves MODEL as it is; its engine is a process of
// its own, so that its processor time is that of HTTP, requests and texts only.
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { startServer } from "../server-process.mjs";
import { parseFlags } from "./parse-flags.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    streams: { type: "string", default: "64" },
    tokens: { type: "string", default: "512" },
    rounds: { type: "string", default: "7" },
    "llama-server": { type: "string" },
    vllm: { type: "string" },
  },
});
const model = positionals[0] ?? path.join(root, "models/pebble/model");
const [streams, tokens, rounds] = [flags.streams, flags.tokens, flags.rounds].map(Number);

/** Median, least and most, for people. */
function spread(values, digits) {
  const sorted = values.toSorted((a, b) => a - b);
  const [median, least, most] = [sorted[Math.floor(sorted.length / 2)], sorted[0], sorted.at(-1)];
  return `${median.toFixed(digits)} (${least.toFixed(digits)} to ${most.toFixed(digits)})`;
}

/** Reads one stream; resolves with the number of its events. */
function readStream(url, agent) {
  const body = {
    messages: [{ role: "user", content: "hello" }],
    max_tokens: tokens,
    ignore_eos: true,
    temperature: 0,
    stream: true,
  };
  const headers = { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const request = http.request(
      `${url}/v1/chat/completions`,
      { method: "POST", agent, headers },
      (response) => {
        let numEvents = 0;
        let tail = "";
        response.setEncoding("latin1").on("data", (part) => {
          numEvents += part.split("data: ").length - 1;
          tail = (tail + part).slice(-16);
        });
        response.once("end", () =>
          tail.endsWith("data: [DONE]\n\n")
            ? resolve(numEvents)
            : reject(new Error(`a stream ended with ${tail}`)),
        );
      },
    );
    request.once("error", reject);
    request.end(JSON.stringify(body));
  });
}

/** The server over the scripted engine, and its processor time in microseconds so far. */
async function startScripted() {
  const child = fork(path.join(root, "tests/perf/scripted-server.mjs"), [model]);
  const [{ url }] = await once(child, "message");
  const cpuMicros = async () => {
    child.send("cpu");
    const [{ cpu }] = await once(child, "message");
    return cpu.user + cpu.system;
  };
  return { name: "scripted engine", url, cpuMicros, stop: () => child.kill("SIGKILL") };
}

/** A server of its own process. Clock ticks in /proc are hundredths on every Linux of Node. */
async function startProcess(name, commandFor) {
  const { url, child, stop } = await startServer(commandFor);
  const cpuMicros = () => {
    const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return 1e4 * (Number(fields[11]) + Number(fields[12]));
  };
  return { name, url, cpuMicros, stop };
}

/** Ours and llama.cpp's with the same file. */
async function startPair(scratch) {
  const file = path.join(scratch, "model.gguf");
  const main = path.join(root, "dist/cli/main.js");
  execFileSync(process.execPath, [main, "convert", model, "--out", file, "--dtype", "q8_0"], {
    stdio: "pipe",
  });
  // Prompt and answer of each stream.
  const length = tokens + 128;
  const ours = await startProcess("millrace", (port) => {
    const own = `--port ${port} --threads 1 --max-num-seqs ${streams} --max-model-len ${length}`;
    return [process.execPath, main, "serve", file, ...own.split(" ")];
  });
  const theirs = await startProcess("llama.cpp", (port) => {
    const own = `--host 127.0.0.1 --port ${port} -t 1 -np ${streams} -c ${streams * length} --no-webui`;
    return [flags["llama-server"], "-m", file, ...own.split(" ")];
  });
  return [ours, theirs];
}

/** Its variables, such as VLLM_CPU_KVCACHE_SPACE, are the caller's. */
function startVllm() {
  return startProcess("vllm, without its engine", (port) => {
    const own = `--port ${port} --max-model-len ${tokens + 128} --max-num-seqs ${streams} --enforce-eager`;
    return [flags.vllm, "serve", model, ...own.split(" ")];
  });
}

/** Processor time of the scripted engine alone, in microseconds per token. */
async function engineMicros() {
  const { createFakeClient } = await import("../../dist/protocol/fake-engine-client.js");
  const { defaultSampling } = await import("../../dist/protocol/sampling-params.js");
  const info = { vocabSize: 1 << 20, maxModelLen: 1 << 20 };
  const client = createFakeClient({ info, reply: () => [1, 2, 3] });
  const sampling = { ...defaultSampling, maxTokens: tokens, ignoreEos: true };
  const read = async (id) => {
    let count = 0;
    const request = { requestId: String(id), promptTokenIds: [1], sampling };
    for await (const { newTokenIds } of client.generate(request)) count += newTokenIds.length;
    return count;
  };
  const askAll = () => Promise.all(Array.from({ length: streams }, (_, id) => read(id)));
  await askAll();
  const before = process.cpuUsage();
  const counts = await askAll();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / counts.reduce((sum, count) => sum + count, 0);
}

const agent = new http.Agent({ keepAlive: true, maxSockets: streams });
const round = ({ url }) => Promise.all(Array.from({ length: streams }, () => readStream(url, agent)));

/** Tokens per second and processor time per token of one round, added to what the server has. */
async function measure(server) {
  const before = await server.cpuMicros();
  const beganMs = performance.now();
  await round(server);
  const seconds = (performance.now() - beganMs) / 1000;
  server.rates.push((streams * tokens) / seconds);
  server.micros.push(((await server.cpuMicros()) - before) / (streams * tokens));
}

const scratch = mkdtempSync(path.join(os.tmpdir(), "millrace-http-cost-"));
const servers = [];
try {
  servers.push(await startScripted());
  if (flags["llama-server"] !== undefined) servers.push(...(await startPair(scratch)));
  if (flags.vllm !== undefined) servers.push(await startVllm());
  for (const server of servers)
    Object.assign(server, { rates: [], micros: [], numEvents: (await round(server))[0] });
  for (let i = 0; i < rounds; i += 1) for (const server of servers) await measure(server);
  agent.destroy();
  console.log(`${streams} streams of ${tokens} tokens, ${rounds} rounds`);
  for (const { name, rates, micros, numEvents } of servers) {
    console.log(`${name}: ${numEvents} events for each stream`);
    console.log(`  tokens per second through HTTP: ${spread(rates, 0)}`);
    console.log(`  server CPU per token in microseconds: ${spread(micros, 1)}`);
  }
  console.log(
    `scripted engine without a server: ${(await engineMicros()).toFixed(1)} microseconds per token`,
  );
} finally {
  for (const server of servers) await server.stop();
  rmSync(scratch, { recursive: true });
}
