// Runs the kernel tests over kernels built with the address and undefined-behaviour sanitizers, on every instruction set
// that this machine has (the tests force each in turn), and puts the usual build back. Needs g++ with its sanitizers.
// Usage: node scripts/test-sanitized.mjs [test files; default src/kernels]
import { spawnSync } from "node:child_process";
import path from "node:path";
import { root } from "./run-step.mjs";

const files = process.argv.slice(2);

function run(args, env = {}) {
  const { status } = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  return status ?? 1;
}

/** Node itself is not built with them, so that their libraries must be there before the addon is loaded. */
function sanitizerLibraries() {
  return ["libasan.so", "libubsan.so"]
    .map((name) => spawnSync("g++", [`-print-file-name=${name}`], { encoding: "utf8" }).stdout.trim())
    .join(" ");
}

const build = path.join("scripts", "build-native.mjs");
if (run([build, "--sanitize"]) !== 0) process.exit(1);
const vitest = path.join("node_modules", "vitest", "vitest.mjs");
const status = run([vitest, "run", ...(files.length > 0 ? files : ["src/kernels"])], {
  LD_PRELOAD: sanitizerLibraries(),
  // Node frees little when it ends, which is no leak of ours.
  ASAN_OPTIONS: "detect_leaks=0",
});
const restored = run([build]);
process.exit(status === 0 ? restored : status);
