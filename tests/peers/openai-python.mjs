// OpenAI's Python client, from PyPI in an environment of its own, against our server: chat, completions with echo and
// logprobs, responses, streams, tools, structured output, a stream that is left, errors. Needs `npm run build`, and
// python3 with venv.
//
//   node tests/peers/openai-python.mjs [MODEL] [--venv FOLDER]
//
// The environment is made in FOLDER (default: build/venvs/openai) and used again. Fails where a check does.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "../perf/parse-flags.mjs";
import { startServer } from "../server-process.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: { venv: { type: "string", default: path.join(root, "build/venvs/openai") } },
});
const model = path.resolve(positionals[0] ?? path.join(root, "models/pebble/model"));
const programs = path.resolve(flags.venv, "bin");

const run = (program, ...args) => execFileSync(program, args, { stdio: ["ignore", "inherit", "inherit"] });

if (!existsSync(path.join(programs, "pip"))) run("python3", "-m", "venv", path.resolve(flags.venv));
run(path.join(programs, "pip"), "install", "--quiet", "openai");
const serve = [path.join(root, "dist/cli/main.js"), "serve", model, "--served-model-name", "served"];
const server = await startServer((port) => [process.execPath, ...serve, "--port", String(port)]);
try {
  run(path.join(programs, "python"), path.join(root, "tests/peers/openai_python.py"), server.url, "served");
} finally {
  await server.stop();
}
