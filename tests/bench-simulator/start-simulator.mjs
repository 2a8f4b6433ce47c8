// Starts the scripted server as a child process; see simulator.mjs for what a script holds.
import { spawn } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const file = path.join(path.dirname(fileURLToPath(import.meta.url)), "simulator.mjs");

/** @returns `url`, `log()` with what was sent since the last call, and `stop()` */
export async function startSimulator(options) {
  const child = spawn(process.execPath, [file, JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const gone = new Promise((resolve) => child.once("close", resolve));
  const line = await new Promise((resolve, reject) => {
    child.stdout.once("data", (part) => resolve(String(part)));
    child.once("close", () => reject(new Error("the simulator ended before it listened")));
  });
  const { url } = JSON.parse(line);
  return {
    url,
    pid: child.pid,
    log: () => fetch(`${url}/log`).then((response) => response.json()),
    async stop() {
      child.kill("SIGTERM");
      await gone;
    },
  };
}
