// Files that `millrace quantize` wrote, in tools that we did not write: compressed-tensors folders in transformers and vLLM,
// GGUF files in llama.cpp's server and in gguf-py. Needs `npm run build`, `npm run build:native` and at least one of the four.
//
//   node tests/peers/quantized-files.mjs MODEL TOKENIZER [--python PYTHON] [--llama-cpp FOLDER] [--gguf-python PYTHON]
//     [--vllm PROGRAM] [--schemes w8a8,w4a16,q4_0,…] [--tokens 32] [--keep FOLDER]
//
// MODEL is a folder of float weights of a llama; TOKENIZER a file or folder with its tokenizer. --python has torch,
// transformers and compressed-tensors; --llama-cpp is the folder of llama-server and llama-quantize, which unpacks our files so
// that their inputs are not rounded; --gguf-python has gguf, which must find the values that the manifest tells, to the
// bit; --vllm runs w8a8, and on a CPU with AVX-512 w4a16, whose kernels it lacks elsewhere and which take inputs in bf16, with
// VLLM_CPU_KVCACHE_SPACE as the caller set it. We continue a prompt greedily; then each side tells, before every token of that answer, the log-probabilities of the
// likeliest tokens. The exit code is 1 where they are further off than the scheme's bound, or where the likeliest token is
// another one though ours is ahead of the next by more than that; and 2 where a scheme of --schemes is one that no named tool
// runs.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { nativeStatus } from "../../dist/kernels/create-ops.js";
import { parseFlags } from "../perf/parse-flags.mjs";
import { startServer } from "../server-process.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const main = path.join(root, "dist/cli/main.js");
const text = { type: "string" };
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    python: text,
    "llama-cpp": text,
    "gguf-python": text,
    vllm: text,
    schemes: text,
    tokens: { ...text, default: "32" },
    keep: text,
  },
});
const [model, tokenizer] = positionals;
const tools = [flags.python, flags["llama-cpp"], flags["gguf-python"], flags.vllm];
if (tokenizer === undefined || tools.every((tool) => tool === undefined)) {
  console.error(
    "usage: quantized-files.mjs MODEL TOKENIZER, and at least one of --python, --llama-cpp, --gguf-python and --vllm (--help tells more)",
  );
  process.exit(2);
}
const allSchemes = "w8a8,w4a16,w4a8,q8_0,q4_0,iq4_nl,q4_1,q5_0,q5_1,q4_k_s,q4_k_m,q5_k_s,q5_k_m,q6_k";
const prompt = "Once upon a time, there was a little girl who lived in";
const numTop = 5;
const hasAvx512 = nativeStatus().isas.some((isa) => isa.startsWith("avx512"));
const vllmSchemes = hasAvx512 ? ["w8a8", "w4a16"] : ["w8a8"];
/**
 * How far a log-probability may be off where neither side rounds inputs: the weights are the same values, and sums in f32 in
 * another order make all the difference.
 */
const floatBound = 0.001;
/**
 * Both sides round inputs to 8 bits, transformers per token and llama.cpp in blocks, where one large column makes the steps of
 * all others larger. What that changes depends on the model, and our kernels do it too: not the same values, but errors that are
 * sums of as many roundings of the same sizes. Root mean squares of n draws of equal variance have a ratio whose logarithm has
 * a standard deviation of about 1/√n: beyond 3.1 of them, which one run in a thousand would be, theirs is larger than it should
 * be.
 */
const roundingMargin = (numSteps) => Math.exp(3.1 / Math.sqrt(numSteps));
const scratch = flags.keep ?? mkdtempSync(path.join(os.tmpdir(), "millrace-quantized-"));
mkdirSync(scratch, { recursive: true });

async function post(url, body) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

/** Starts our server on a file, and stops it after the use of it. */
async function withOurs(file, activations, use) {
  const more = file.endsWith(".gguf") ? [] : ["--tokenizer", tokenizer];
  const limits = "--max-model-len 256 --kv-cache-dtype f32 --kv-cache-memory-bytes 64MiB".split(" ");
  const server = await startServer((port) => [
    process.execPath,
    main,
    "serve",
    file,
    "--port",
    String(port),
    "--activations",
    activations,
    ...limits,
    ...more,
  ]);
  try {
    return await use(server.url);
  } finally {
    await server.stop();
  }
}

/** The prompt's ids and greedy tokens. */
async function answerOfOurs(url) {
  const ids = (await post(`${url}/tokenize`, { prompt })).tokens;
  const asked = { prompt: ids, temperature: 0, max_tokens: Number(flags.tokens), return_token_ids: true };
  return { ids, tokens: (await post(`${url}/v1/completions`, asked)).choices[0].token_ids };
}

/** Of ours, and of vLLM, which is asked alike. */
async function stepsOfPrompt(url, { ids, tokens }) {
  const asked = { prompt: [...ids, ...tokens], max_tokens: 1, prompt_logprobs: numTop, detokenize: false };
  const rows = (await post(`${url}/v1/completions`, asked)).choices[0].prompt_logprobs.slice(ids.length);
  return rows.map((row) => new Map(Object.entries(row).map(([id, { logprob }]) => [Number(id), logprob])));
}

/** For each step of an answer, the log-probabilities of the likeliest tokens before it. */
async function stepsOfLlama(file, { ids, tokens }) {
  const server = await startServer((port) => [
    path.join(flags["llama-cpp"], "llama-server"),
    "-m",
    file,
    ...`--host 127.0.0.1 --port ${port} -c 256 -np 1 -fa off -ctk f32 -ctv f32 --no-webui`.split(" "),
  ]);
  try {
    const steps = [];
    for (let i = 0; i < tokens.length; i += 1) {
      const asked = {
        prompt: [...ids, ...tokens.slice(0, i)],
        temperature: 0,
        n_predict: 1,
        n_probs: numTop,
      };
      const { completion_probabilities: rows } = await post(`${server.url}/completion`, asked);
      steps.push(new Map(rows[0].top_logprobs.map(({ id, logprob }) => [id, logprob])));
    }
    return steps;
  } finally {
    await server.stop();
  }
}

async function stepsOfVllm(folder, answer, dtype) {
  const limits = "--max-model-len 256 --gpu-memory-utilization 0.3 --enforce-eager".split(" ");
  const server = await startServer((port) => [
    flags.vllm,
    "serve",
    folder,
    "--port",
    String(port),
    "--dtype",
    dtype,
    "--skip-tokenizer-init",
    ...limits,
  ]);
  try {
    return await stepsOfPrompt(server.url, answer);
  } finally {
    await server.stop();
  }
}

function stepsOfTransformers(folder, { ids, tokens }, inputs) {
  const script = fileURLToPath(new URL("logits_of_folder.py", import.meta.url));
  const args = [script, folder, ids.join(","), tokens.join(","), String(numTop), inputs];
  const steps = JSON.parse(execFileSync(flags.python, args, { encoding: "utf8", stdio: "pipe" }));
  return steps.map((pairs) => new Map(pairs));
}

const likeliestFirst = (step) => [...step].sort((a, b) => b[1] - a[1]);

/** The most that a step's list leaves to a token that is not in it; a prompt's own token may stand behind the likeliest. */
const restOf = (step) => likeliestFirst(step)[numTop - 1][1];

/**
 * The largest error of a step as far as the lists tell: that of a token which one of them lacks is at least what it is above
 * the least likely of that list's likeliest. Infinity where they share no token.
 */
function errorOf(ours, theirs) {
  if (![...ours.keys()].some((id) => theirs.has(id))) return Infinity;
  const errorsOf = (step, other) =>
    [...step].map(([id, logprob]) =>
      other.has(id) ? Math.abs(logprob - other.get(id)) : logprob - restOf(other),
    );
  return Math.max(...errorsOf(ours, theirs), ...errorsOf(theirs, ours));
}

/**
 * Of each step the largest error; at how many the likeliest token is the same; and by how much ours is ahead of the next at
 * most where it is not.
 */
function compare(ours, theirs) {
  const errors = [];
  let numEqual = 0;
  let lead = 0;
  for (const [i, step] of ours.entries()) {
    errors.push(errorOf(step, theirs[i]));
    const [[first, best], [, next]] = likeliestFirst(step);
    const [[firstOfTheirs]] = likeliestFirst(theirs[i]);
    if (first === firstOfTheirs) numEqual += 1;
    else lead = Math.max(lead, best - next);
  }
  return { numEqual, errors, lead };
}

const largest = (errors) => Math.max(...errors);
const rootMeanSquare = (errors) =>
  Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length);

/** What was found, in a line; `ahead` is what ours may lead by where the likeliest token is another one. */
function tell(what, { numEqual, errors, lead }, { measure, bound, ahead }) {
  const error = measure(errors);
  const found = `${numEqual} of ${errors.length} likeliest tokens equal, error ${error.toExponential(1)}`;
  const isRight = error <= bound && lead <= ahead && bound < Infinity;
  return `${what}: ${found} of at most ${bound.toPrecision(2)}${isRight ? "" : "  WRONG"}`;
}

/** How many matrices of a GGUF file gguf-py reads as the manifest tells. */
function compareValues(out) {
  const script = fileURLToPath(new URL("gguf_values.py", import.meta.url));
  const args = [script, path.join(out, "model.gguf")];
  const found = JSON.parse(execFileSync(flags["gguf-python"], args, { encoding: "utf8", stdio: "pipe" }));
  const { tensors } = JSON.parse(readFileSync(path.join(out, "millrace-manifest.json"), "utf8"));
  const numRight = tensors.filter(({ name, valuesChecksum }) => found[name] === valuesChecksum).length;
  return `${numRight} of ${tensors.length} matrices have the same values in gguf-py${numRight === tensors.length ? "" : "  WRONG"}`;
}

/** The programs that were named and run a scheme's file: with inputs that stay floats, where they can, and as they serve it. */
function runnersOf(file, scheme) {
  const llama = {
    name: "llama.cpp",
    float: (answer) => stepsOfLlama(unpacked(file), answer),
    served: (answer) => stepsOfLlama(file, answer),
  };
  const transformers = {
    name: "transformers",
    float: (answer) => stepsOfTransformers(file, answer, "float"),
    served: (answer) => stepsOfTransformers(file, answer, "asis"),
  };
  const dtype = scheme === "w8a8" ? "float32" : "bfloat16";
  const vllm = { name: "vLLM", float: null, served: (answer) => stepsOfVllm(file, answer, dtype) };
  if (!scheme.startsWith("w")) return flags["llama-cpp"] === undefined ? [] : [llama];
  return [
    ...(flags.python === undefined ? [] : [transformers]),
    ...(flags.vllm === undefined || !vllmSchemes.includes(scheme) ? [] : [vllm]),
  ];
}

/** What the tools that were named find of a scheme's files. */
async function compareScheme(scheme) {
  const out = path.join(scratch, scheme);
  const isFolder = scheme.startsWith("w");
  const file = isFolder ? out : path.join(out, "model.gguf");
  const runners = runnersOf(file, scheme);
  const reads = !isFolder && flags["gguf-python"] !== undefined;
  if (runners.length === 0 && !reads) return [];
  rmSync(out, { recursive: true, force: true });
  execFileSync(process.execPath, [main, "quantize", source, "--scheme", scheme, "--out", out], {
    stdio: "pipe",
  });
  const lines = reads ? [compareValues(out)] : [];
  if (runners.length > 0) lines.push(...(await compareAnswers(file, { runners, scheme })));
  if (flags.keep === undefined) rmSync(out, { recursive: true });
  return lines;
}

async function compareAnswers(file, { runners, scheme }) {
  const [answer, ours] = await withOurs(file, "f32", async (url) => {
    const answer = await answerOfOurs(url);
    return [answer, await stepsOfPrompt(url, answer)];
  });
  const asServed = await withOurs(file, "auto", (url) => stepsOfPrompt(url, answer));
  const { errors } = compare(ours, asServed);
  const margin = roundingMargin(errors.length);
  const within = { measure: largest, bound: floatBound, ahead: floatBound };
  const withinRounding = {
    measure: rootMeanSquare,
    bound: margin * rootMeanSquare(errors),
    // Another token is the likeliest where the errors of the two make up for what ours leads by.
    ahead: 2 * margin * largest(errors),
  };
  const lines = [];
  for (const { name, float, served } of runners) {
    if (float !== null) lines.push(tell(`${name}, float inputs`, compare(ours, await float(answer)), within));
    if (float !== null && scheme.endsWith("a16")) continue;
    const found = compare(ours, await served(answer));
    lines.push(tell(`${name}, rounded inputs, root mean square`, found, withinRounding));
  }
  return lines;
}

/** A GGUF file with the values of another in f32, as llama.cpp's own quantiser reads them. */
function unpacked(file) {
  const out = path.join(path.dirname(file), "f32.gguf");
  const program = path.join(flags["llama-cpp"], "llama-quantize");
  execFileSync(program, ["--allow-requantize", file, out, "F32"], { stdio: "pipe" });
  return out;
}

// A GGUF file holds the tokenizer, which a folder of weights may lack.
const source = path.join(scratch, "float.gguf");
rmSync(source, { force: true });
execFileSync(
  process.execPath,
  [main, "convert", model, "--tokenizer", tokenizer, "--dtype", "bfloat16", "--out", source],
  { stdio: "pipe" },
);
let isRight = true;
let isWhole = true;
for (const scheme of (flags.schemes ?? allSchemes).split(",")) {
  const lines = await compareScheme(scheme);
  if (lines.length === 0) {
    isWhole = false;
    console.log(`${scheme}: not compared, as none of the named tools runs it`);
  }
  for (const line of lines) {
    isRight &&= !line.endsWith("WRONG");
    console.log(`${scheme}: ${line}`);
  }
}
if (flags.keep === undefined) rmSync(scratch, { recursive: true });
// Without --schemes, one tool is not expected to run all.
if (isRight && !isWhole && flags.schemes !== undefined) process.exit(2);
process.exit(isRight ? 0 : 1);
