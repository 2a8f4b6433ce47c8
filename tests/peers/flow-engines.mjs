// A flow with two engines: ours and llama.cpp's server, on the same GGUF files, and what becomes of an engine that cannot
// read one. Needs `npm run build`, `npm run build:native` and a `llama-server`.
//
//   node tests/peers/flow-engines.mjs LLAMA_SERVER MODEL.gguf [--scheme q8_0] [--out FOLDER]
//
// Prints the report. The exit code is 1 where either engine could not be measured on either file.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "../perf/parse-flags.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values, positionals } = parseFlags({
  allowPositionals: true,
  options: { scheme: { type: "string", default: "q8_0" }, out: { type: "string" } },
});
const [llamaServer, model] = positionals;
if (llamaServer === undefined || model === undefined) {
  console.error("LLAMA_SERVER or MODEL.gguf is missing. --help tells more.");
  process.exit(2);
}
const out = values.out ?? mkdtempSync(path.join(os.tmpdir(), "flow-engines-"));
// Two threads and seats for all users, as our own server has them without flags.
const llama = `llama.cpp=${llamaServer} -t 2 -c 8192 -np 4`;
const what = ["--schemes", values.scheme, "--dtype", "bfloat16", "--engine", "millrace", "--engine", llama];
const load = ["--tasks", "none", "--concurrency", "1,4", "--min-seconds", "5"];
const command = [path.join(root, "dist/cli/main.js"), "flow", model, ...what, ...load, "--out", out];
execFileSync(process.execPath, command, { stdio: "inherit" });
const { variants } = JSON.parse(readFileSync(path.join(out, "comparison.json"), "utf8"));
const failed = variants.filter(({ failure }) => failure !== null);
for (const { name, failure } of failed) console.error(`${name}: ${failure.kind}: ${failure.message}`);
process.exit(failed.length === 0 && variants.length === 4 ? 0 : 1);
