import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");

/** Runs a program of node_modules/.bin (or `node`) in the repository and returns its exit code. */
export function runTool(name, args, options = {}) {
  const command = name === "node" ? process.execPath : path.join(root, "node_modules", ".bin", name);
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (result.error) {
    process.stderr.write(`${name} could not be started: ${result.error.message}\n`);
    return 127;
  }
  return result.status ?? 1;
}

/** Of vitest, for many tests: dots on a terminal, in a log a line for each file. */
export const reporter = process.stdout.isTTY ? "dot" : "default";
