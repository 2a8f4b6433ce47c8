// What HTTP and streaming cost: a server over an engine that computes nothing, and clients that read its streams. Needs
// `npm run build`.
//
//   node tests/perf/http-cost.mjs [MODEL] [--streams 64] [--tokens 512] [--rounds 7]
//
// Each round, all clients ask for a chat of so many tokens at once. Shows tokens per second through HTTP, and the
// processor time of the server's process per token, as the median of the rounds with the fastest and the slowest. The
// scripted engine's own share is measured by reading it without a server.
import { fork } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "./parse-flags.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    streams: { type: "string", default: "64" },
    tokens: { type: "string", default: "512" },
    rounds: { type: "string", default: "7" },
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
    stream: true,
  };
  return new Promise((resolve, reject) => {
    const request = http.request(`${url}/v1/chat/completions`, { method: "POST", agent }, (response) => {
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
    });
    request.once("error", reject);
    request.end(JSON.stringify(body));
  });
}

async function cpuMicros(child) {
  child.send("cpu");
  const [{ cpu }] = await once(child, "message");
  return cpu.user + cpu.system;
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

const child = fork(path.join(root, "tests/perf/scripted-server.mjs"), [model]);
try {
  const [{ url }] = await once(child, "message");
  const agent = new http.Agent({ keepAlive: true, maxSockets: streams });
  const round = () => Promise.all(Array.from({ length: streams }, () => readStream(url, agent)));
  const events = await round();
  const rates = [];
  const micros = [];
  for (let i = 0; i < rounds; i += 1) {
    const before = await cpuMicros(child);
    const beganMs = performance.now();
    await round();
    const seconds = (performance.now() - beganMs) / 1000;
    rates.push((streams * tokens) / seconds);
    micros.push(((await cpuMicros(child)) - before) / (streams * tokens));
  }
  agent.destroy();
  console.log(`${streams} streams of ${tokens} tokens, ${events[0]} events each, ${rounds} rounds`);
  console.log(`tokens per second through HTTP: ${spread(rates, 0)}`);
  console.log(`server CPU per token in microseconds: ${spread(micros, 1)}`);
  console.log(`of it the scripted engine's: ${(await engineMicros()).toFixed(1)}`);
} finally {
  child.kill("SIGKILL");
}
