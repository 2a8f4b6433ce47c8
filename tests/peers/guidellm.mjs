// GuideLLM, from PyPI in an environment of its own, against our server: completions, chat and responses as streams, several
// at once. Needs `npm run build`, and python3 with venv. Written for `guidellm run` of version 0.8.
//
//   node tests/peers/guidellm.mjs [MODEL] [--venv FOLDER] [--requests 24] [--streams 4]
//
// MODEL is a folder whose tokenizer transformers reads. The environment is made in FOLDER (default: build/venvs/guidellm) and
// used again. Of each API, every request must have succeeded, every answer must have the tokens that were asked for,
// and GuideLLM must have counted as many tokens as the server's metrics tell. Fails where a check does.
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { parseFlags } from "../perf/parse-flags.mjs";
import { startServer } from "../server-process.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const text = { type: "string" };
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    venv: { ...text, default: path.join(root, "build/venvs/guidellm") },
    requests: { ...text, default: "24" },
    streams: { ...text, default: "4" },
  },
});
const model = path.resolve(positionals[0] ?? path.join(root, "models/pebble/model"));
const programs = path.resolve(flags.venv, "bin");
const numRequests = Number(flags.requests);
const [numPromptTokens, numOutputTokens] = [40, 16];
const apis = ["/v1/completions", "/v1/chat/completions", "/v1/responses"];

/** The server's totals. Asked between two runs, so on a connection of its own. */
async function readTotals(url) {
  const metrics = await (await fetch(`${url}/metrics`, { headers: { connection: "close" } })).text();
  const sum = (name) =>
    [...metrics.matchAll(new RegExp(`^${name}\\{.*\\} (\\S+)$`, "gm"))].reduce(
      (total, [, value]) => total + Number(value),
      0,
    );
  return {
    prompt: sum("vllm:prompt_tokens_total"),
    generation: sum("vllm:generation_tokens_total"),
    finished: sum("vllm:request_success_total"),
  };
}

/** What GuideLLM says of one load. */
async function runLoad(url, api, file) {
  const args = ["run", "--disable-console"];
  args.push("--backend", `kind=openai_http,target=${url},model=served,request_format=${api}`);
  args.push("--profile", `kind=concurrent,streams=${flags.streams}`);
  args.push("--constraint", `kind=max_requests,count=${numRequests}`);
  args.push("--tokenizer", `kind=hf_auto,model=${model}`);
  args.push(
    "--data",
    `kind=synthetic_text,prompt_tokens=${numPromptTokens},output_tokens=${numOutputTokens}`,
  );
  args.push("--output", `kind=json,path=${file}`);
  const env = { ...process.env, HF_HUB_OFFLINE: "1" };
  await promisify(execFile)(path.join(programs, "guidellm"), args, { env, maxBuffer: 2 ** 26 });
  return JSON.parse(readFileSync(file, "utf8")).benchmarks[0];
}

function check(name, seen, wanted) {
  const isGood = JSON.stringify(seen) === JSON.stringify(wanted);
  console.log(`${isGood ? "ok   " : "FAIL "}${name}${isGood ? "" : `: ${JSON.stringify(seen)}`}`);
  if (!isGood) process.exitCode = 1;
}

async function checkApi(url, api, file) {
  const before = await readTotals(url);
  const { metrics, requests } = await runLoad(url, api, file);
  const after = await readTotals(url);
  const { successful, errored, incomplete } = metrics.request_totals;
  check(`${api}: every request succeeded`, [successful, errored, incomplete], [numRequests, 0, 0]);
  const sum = (read) => requests.successful.reduce((total, request) => total + read(request), 0);
  const counted = {
    prompt: sum(({ input_metrics }) => input_metrics.text_tokens),
    generation: sum(({ output_metrics }) => output_metrics.text_tokens),
    finished: successful,
  };
  const told = Object.fromEntries(Object.keys(after).map((key) => [key, after[key] - before[key]]));
  check(
    `${api}: ${told.prompt} prompt tokens and ${told.generation} tokens of answers, on both sides`,
    counted,
    told,
  );
  check(
    `${api}: every answer has its ${numOutputTokens} tokens`,
    [...new Set(requests.successful.map(({ output_metrics }) => output_metrics.text_tokens))],
    [numOutputTokens],
  );
  check(
    `${api}: every answer has text`,
    requests.successful.every(({ output }) => output.length > 0),
    true,
  );
}

const pip = path.join(programs, "pip");
if (!existsSync(pip))
  execFileSync("python3", ["-m", "venv", path.resolve(flags.venv)], {
    stdio: ["ignore", "inherit", "inherit"],
  });
execFileSync(pip, ["install", "--quiet", "guidellm~=0.8.0"], { stdio: ["ignore", "inherit", "inherit"] });
const scratch = mkdtempSync(path.join(os.tmpdir(), "millrace-guidellm-"));
const serve = [path.join(root, "dist/cli/main.js"), "serve", model, "--served-model-name", "served"];
const server = await startServer((port) => [process.execPath, ...serve, "--port", String(port)]);
try {
  for (const [index, api] of apis.entries())
    await checkApi(server.url, api, path.join(scratch, `${index}.json`));
} finally {
  await server.stop();
  rmSync(scratch, { recursive: true });
}
