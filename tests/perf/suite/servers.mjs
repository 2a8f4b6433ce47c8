// Serves one model with each server in turn and loads all with the same prompts. One server runs at a time; rounds
// alternate who goes first.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { silentProgress } from "../../../dist/base/progress.js";
import { runSweep } from "../../../dist/bench/sweep.js";
import { startServer } from "../../server-process.mjs";
import { processTree, watchOthers } from "../machine-load.mjs";

/** A round is measured again, so often at most, when others used more than this share of the machine. */
const mostOthers = 0.08;
const mostTries = 3;

/** Bytes by part, as a Millrace server counts them; null of another. */
async function memoryOf(url) {
  const text = await fetch(`${url}/metrics`).then(
    (response) => response.text(),
    () => "",
  );
  const found = [...text.matchAll(/^millrace:memory_bytes\{.*part="(\w+)".*\} (\S+)$/gm)];
  if (found.length === 0) return null;
  const parts = Object.fromEntries(found.map(([, part, bytes]) => [part, Number(bytes)]));
  return { weights: parts.weights, kvCache: parts.kv_cache, activations: parts.activations };
}

/** Most memory that a process ever held, KiB; pages that it shares with others count for each. */
function peakKibOf(pid) {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
}

async function measureServer(command, { concurrencies, ...load }) {
  const server = await startServer((port) =>
    command.replaceAll("{port}", String(port)).split(" ").filter(Boolean),
  );
  try {
    const { url, child, readyMs } = server;
    const finishWatch = watchOthers([child.pid]);
    const record = await runSweep({
      endpoint: { url },
      model: null,
      concurrencies,
      requestsPerSeat: Math.min(2, load.minRequests),
      minSeconds: 0,
      ...load,
      progress: silentProgress,
    });
    const others = finishWatch();
    const peakKib = processTree(child.pid).reduce((sum, pid) => sum + peakKibOf(pid), 0);
    const memory = await memoryOf(url);
    return { readyMs, peakMib: peakKib / 1024, memory, others, stages: record.stages };
  } finally {
    await server.stop();
  }
}

/** Runs a peer that has no server: it prints a line with `batch N` and `outTps X` for each number in flight. */
async function measureProgram(command, { concurrencies }) {
  const finishWatch = watchOthers();
  const [program, ...args] = command.replaceAll("{concurrency}", concurrencies.join(",")).split(" ");
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 2 ** 24 });
  const rates = new Map(
    [...stdout.matchAll(/batch (\d+).*?outTps ([\d.]+)/g)].map(([, batch, rate]) => [+batch, +rate]),
  );
  const stages = concurrencies.map((concurrency) => {
    const outputTokensPerSecond = rates.get(concurrency);
    if (outputTokensPerSecond === undefined) throw new Error(`${program} printed nothing for ${concurrency}`);
    return { concurrency, outputTokensPerSecond, ttftMs: {}, itlMs: {}, numErrors: 0 };
  });
  return { others: finishWatch(), stages };
}

/**
 * @param servers [{ name, command }], the first being ours; "{port}" stands for the port in a command. A peer without a
 *   server has "{concurrency}" in its command in place of it, a list such as 1,8,32
 * @returns one entry a server: `rounds` of { readyMs, peakMib, memory, others, stages }, `others` being the share of the
 *   machine that other processes used; of a peer without a server only { others, stages } without latencies
 */
export async function benchServers({ servers, numRounds, onRound, ...load }) {
  const results = servers.map(({ name, command }) => ({ name, command, rounds: [] }));
  for (let round = 0; round < numRounds; round += 1) {
    const order = round % 2 === 0 ? servers.keys() : [...servers.keys()].reverse();
    for (const index of order) {
      const { name, command } = servers[index];
      const measure = command.includes("{concurrency}") ? measureProgram : measureServer;
      let measured = await measure(command, { ...load, seed: round });
      for (let tries = 1; tries < mostTries && measured.others > mostOthers; tries += 1) {
        const next = await measure(command, { ...load, seed: round });
        if (next.others < measured.others) measured = next;
      }
      const { readyMs, peakMib, memory, others, stages } = measured;
      const kept = stages.map((stage) => ({
        concurrency: stage.concurrency,
        outputTokensPerSecond: stage.outputTokensPerSecond,
        ttftMs: stage.ttftMs.p50,
        itlMs: stage.itlMs.p50,
        numErrors: stage.numErrors,
      }));
      results[index].rounds[round] = { readyMs, peakMib, memory, others, stages: kept };
      onRound(round, name, kept, others);
    }
  }
  return results;
}
