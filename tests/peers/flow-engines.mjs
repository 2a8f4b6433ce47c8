// A flow with several engines: ours and the ones of --engine, on the same files. Needs `npm run build`,
// `npm run build:native` and the engines.
//
//   node tests/peers/flow-engines.mjs MODEL.gguf --scheme q8_0 --engine "llama.cpp=llama-server -t 2 -c 8192 -np 4"
//   node tests/peers/flow-engines.mjs FOLDER --scheme w8a8 --engine "vllm --max-model-len 2048"
//
//   --scheme NAME   what is made of the model and measured beside it (default: q8_0)
//   --engine TEXT   as `millrace flow` takes it, once or more often
//   --seconds N     at least so long a level of 1 and of 4 requests in flight (default: 5)
//   --out FOLDER    where the report goes (default: a new temporary folder)
//
// Prints the report. The exit code is 1 where an engine could not be measured on either file.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "../perf/parse-flags.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    scheme: { type: "string", default: "q8_0" },
    engine: { type: "string", multiple: true, default: [] },
    seconds: { type: "string", default: "5" },
    out: { type: "string" },
  },
});
const [model] = positionals;
if (model === undefined || values.engine.length === 0) {
  console.error("The model or --engine is missing. --help tells more.");
  process.exit(2);
}
const out = values.out ?? mkdtempSync(path.join(os.tmpdir(), "flow-engines-"));
const engines = ["millrace", ...values.engine];
const what = ["--schemes", values.scheme, "--dtype", "bfloat16"];
const load = ["--tasks", "none", "--concurrency", "1,4", "--min-seconds", values.seconds];
const flow = [path.join(root, "dist/cli/main.js"), "flow", model, ...what, ...load, "--out", out];
for (const engine of engines) flow.push("--engine", engine);
const { status } = spawnSync(process.execPath, flow, { stdio: "inherit" });
// The folder may have the report of an earlier run.
if (status !== 0) process.exit(status ?? 1);
const { variants } = JSON.parse(readFileSync(path.join(out, "comparison.json"), "utf8"));
const failed = variants.filter(({ failure }) => failure !== null);
for (const { name, failure } of failed) console.error(`${name}: ${failure.kind}: ${failure.message}`);
process.exit(failed.length === 0 && variants.length === 2 * engines.length ? 0 : 1);
