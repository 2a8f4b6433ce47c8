// Files that `millrace quantize` wrote, in tools that we did not write: compressed-tensors folders in transformers, GGUF
// files in llama.cpp's server and in gguf-py. Needs `npm run build`, `npm run build:native` and at least one of the three.
//
//   node tests/peers/quantized-files.mjs MODEL TOKENIZER [--python PYTHON] [--llama-server PROGRAM] [--gguf-python PYTHON]
//     [--schemes w8a8,w4a16,q4_0,…] [--tokens 16] [--keep FOLDER]
//
// MODEL is a folder of float weights of a llama; TOKENIZER a file or folder with its tokenizer. --python has torch,
// transformers and compressed-tensors; --gguf-python has gguf, which must find the values that the manifest tells, to the
// bit. Each side continues a prompt greedily and tells the log-probabilities of the likeliest tokens. Up to
// where answers part their contexts are equal, so that the largest difference there is the numeric error of the pair;
// answers may part only where the two likeliest tokens are closer than twice that error. Else, or where the error is
// above 1, the exit code is 1.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "../perf/parse-flags.mjs";
import { startServer } from "../server-process.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const main = path.join(root, "dist/cli/main.js");
const text = { type: "string" };
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    python: text,
    "llama-server": text,
    "gguf-python": text,
    schemes: { ...text, default: "w8a8,w4a16,q8_0,q4_0,q4_1,q5_0,q5_1,q4_k_s,q4_k_m,q5_k_s,q5_k_m,q6_k" },
    tokens: { ...text, default: "16" },
    keep: text,
  },
});
const [model, tokenizer] = positionals;
const tools = [flags.python, flags["llama-server"], flags["gguf-python"]];
if (tokenizer === undefined || tools.every((tool) => tool === undefined)) {
  console.error("usage: quantized-files.mjs MODEL TOKENIZER --python PYTHON (--help tells more)");
  process.exit(2);
}
const prompt = "Once upon a time, there was a little girl who lived in";
const numTop = 5;
/** Both sides round what goes into a linear to 8 bits in ways of their own, so that the noise of two such runs lies between. */
const maxError = 1;
const scratch = flags.keep ?? mkdtempSync(path.join(os.tmpdir(), "millrace-quantized-"));
mkdirSync(scratch, { recursive: true });

async function post(url, body) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

/** The prompt's ids, greedy tokens, and at each step the log-probabilities of the likeliest by id. */
async function answerOfOurs(file, isFolder) {
  const more = isFolder ? ["--tokenizer", tokenizer] : [];
  const server = await startServer((port) => [
    process.execPath,
    main,
    "serve",
    file,
    ...`--port ${port} --max-model-len 256 --kv-cache-dtype f32 --kv-cache-memory-bytes 64MiB`.split(" "),
    ...more,
  ]);
  try {
    const ids = (await post(`${server.url}/tokenize`, { prompt })).tokens;
    const url = `${server.url}/v1/completions`;
    const asked = { prompt: ids, temperature: 0, max_tokens: Number(flags.tokens), return_token_ids: true };
    const tokens = (await post(url, asked)).choices[0].token_ids;
    const scored = { prompt: [...ids, ...tokens], max_tokens: 1, prompt_logprobs: numTop };
    const rows = (await post(url, scored)).choices[0].prompt_logprobs.slice(ids.length);
    const steps = rows.map(
      (row) => new Map(Object.entries(row).map(([id, { logprob }]) => [Number(id), logprob])),
    );
    return { ids, tokens, steps };
  } finally {
    await server.stop();
  }
}

async function answerOfLlama(file, ids) {
  const server = await startServer((port) => [
    flags["llama-server"],
    "-m",
    file,
    ...`--host 127.0.0.1 --port ${port} -c 256 -np 1 -fa off -ctk f32 -ctv f32 --no-webui`.split(" "),
  ]);
  try {
    const asked = { prompt: ids, temperature: 0, n_predict: Number(flags.tokens), return_tokens: true };
    const { tokens, completion_probabilities: rows } = await post(`${server.url}/completion`, {
      ...asked,
      n_probs: numTop,
      cache_prompt: false,
    });
    return {
      tokens,
      steps: rows.map(({ top_logprobs: top }) => new Map(top.map(({ id, logprob }) => [id, logprob]))),
    };
  } finally {
    await server.stop();
  }
}

function answerOfTransformers(folder, ids) {
  const script = fileURLToPath(new URL("logits_of_folder.py", import.meta.url));
  const args = [script, folder, ids.join(","), flags.tokens, String(numTop)];
  const { tokens, steps } = JSON.parse(execFileSync(flags.python, args, { encoding: "utf8", stdio: "pipe" }));
  return { tokens, steps: steps.map((pairs) => new Map(pairs)) };
}

/** How many tokens are equal, the numeric error up to there, and what is wrong. */
function compare(ours, theirs) {
  const length = Math.min(ours.tokens.length, theirs.tokens.length);
  let numEqual = 0;
  let error = 0;
  while (numEqual < length) {
    // Contexts are equal up to and with this step.
    for (const [id, logprob] of ours.steps[numEqual]) {
      const other = theirs.steps[numEqual]?.get(id);
      if (other !== undefined) error = Math.max(error, Math.abs(logprob - other));
    }
    if (ours.tokens[numEqual] !== theirs.tokens[numEqual]) break;
    numEqual += 1;
  }
  const step = ours.steps[numEqual];
  const gap =
    numEqual === length
      ? 0
      : step.get(ours.tokens[numEqual]) - (step.get(theirs.tokens[numEqual]) ?? -Infinity);
  return { numEqual, length, error, isRight: error <= maxError && gap <= 2 * error };
}

/** How many matrices of a GGUF file gguf-py reads as the manifest tells. */
function compareValues(out) {
  const script = fileURLToPath(new URL("gguf_values.py", import.meta.url));
  const args = [script, path.join(out, "model.gguf")];
  const found = JSON.parse(execFileSync(flags["gguf-python"], args, { encoding: "utf8", stdio: "pipe" }));
  const { tensors } = JSON.parse(readFileSync(path.join(out, "millrace-manifest.json"), "utf8"));
  const numRight = tensors.filter(({ name, valuesSha256 }) => found[name] === valuesSha256).length;
  return `${numRight} of ${tensors.length} matrices have the same values in gguf-py${numRight === tensors.length ? "" : "  WRONG"}`;
}

/** What the tools that were named find of a scheme's files. */
async function compareScheme(scheme) {
  const isFolder = scheme.startsWith("w");
  const runs = (isFolder ? flags.python : flags["llama-server"]) !== undefined;
  const reads = !isFolder && flags["gguf-python"] !== undefined;
  if (!runs && !reads) return [];
  const out = path.join(scratch, scheme);
  rmSync(out, { recursive: true, force: true });
  execFileSync(process.execPath, [main, "quantize", source, "--scheme", scheme, "--out", out], {
    stdio: "pipe",
  });
  const lines = reads ? [compareValues(out)] : [];
  if (runs) lines.push(await compareAnswers(out, isFolder));
  if (flags.keep === undefined) rmSync(out, { recursive: true });
  return lines;
}

async function compareAnswers(out, isFolder) {
  const file = isFolder ? out : path.join(out, "model.gguf");
  const ours = await answerOfOurs(file, isFolder);
  const theirs = isFolder ? answerOfTransformers(out, ours.ids) : await answerOfLlama(file, ours.ids);
  const { numEqual, length, error, isRight } = compare(ours, theirs);
  const verdict = isRight ? "" : "  WRONG";
  return `${numEqual} of ${length} tokens equal, error ${error.toExponential(1)}${verdict}`;
}

// A GGUF file holds the tokenizer, which a folder of weights may lack.
const source = path.join(scratch, "float.gguf");
execFileSync(
  process.execPath,
  [main, "convert", model, "--tokenizer", tokenizer, "--dtype", "bfloat16", "--out", source],
  { stdio: "pipe" },
);
let isRight = true;
for (const scheme of flags.schemes.split(",")) {
  for (const line of await compareScheme(scheme)) {
    isRight &&= !line.endsWith("WRONG");
    console.log(`${scheme}: ${line}`);
  }
}
if (flags.keep === undefined) rmSync(scratch, { recursive: true });
process.exit(isRight ? 0 : 1);
