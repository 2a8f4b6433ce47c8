// CPU time that a server takes while nobody asks for anything. Needs `npm run build`, and Linux for /proc.
//
//   node tests/perf/idle.mjs [MODEL] [--seconds 30]
//
// Loads the model, answers one request, waits, then reads the process's CPU time over the given seconds. Fails above
// one per cent of a core.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "./parse-flags.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "30" } },
});
const modelPath = positionals[0] ?? path.join(root, "models/pebble/model");
const seconds = Number(flags.seconds);
const goal = 0.01;
/** Linux counts CPU time in ticks of a hundredth of a second, whatever the kernel's own clock. */
const ticksPerSecond = 100;
const settleMs = 2000;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** User and system time of all threads of a process, in seconds. */
function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in brackets may hold spaces; the numbers follow it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

const main = path.join(root, "dist/cli/main.js");
const child = spawn(process.execPath, [main, "serve", modelPath, "--port", "0"], {
  stdio: ["ignore", "ignore", "pipe"],
});
let isMet = false;
try {
  const url = await new Promise((resolve, reject) => {
    let log = "";
    child.stderr.setEncoding("utf8").on("data", (part) => {
      log += part;
      const found = /Listening on (http:\S+)\n/.exec(log)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("exit", () => reject(new Error(`serve ended before it listened:\n${log}`)));
  });
  while ((await fetch(`${url}/health`)).status !== 200) await wait(50);
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ prompt: "Hello", max_tokens: 8 }),
  });
  if (!response.ok) throw new Error(`the request was answered with ${response.status}`);
  await response.text();
  await wait(settleMs);
  const before = cpuSeconds(child.pid);
  const beganMs = performance.now();
  await wait(seconds * 1000);
  const used = cpuSeconds(child.pid) - before;
  const elapsed = (performance.now() - beganMs) / 1000;
  const share = used / elapsed;
  isMet = share < goal;
  console.log(
    `${used.toFixed(2)} s of CPU time in ${elapsed.toFixed(1)} s: ${(share * 100).toFixed(2)} % of a core, ` +
      `goal below ${goal * 100} %: ${isMet ? "met" : "missed"}`,
  );
} finally {
  child.kill("SIGTERM");
}
process.exit(isMet ? 0 : 1);
