// Our greedy tokens beside those of llama.cpp's server, on GGUF files that `millrace convert` wrote. Needs
// `npm run build`, `npm run build:native` and a `llama-server`.
//
//   node tests/peers/llama-server.mjs LLAMA_SERVER [MODELS] [--only llama,smollm2] [--tokens 24] [--keep FOLDER]
//
// MODELS holds `tiny/FAMILY` and SmolLM2; by default `models` in the folder that MILLRACE_TEST_DATA names, or in
// ../shared. Every model is written as F32 and as Q8_0, SmolLM2 also as Q4_0 and as it is. Both servers continue the
// recorded prompts, and both say the log-probabilities of the likeliest tokens at each step. Up to where answers part
// their contexts are equal, so the largest difference there is the numeric error of the pair. Answers may part only
// where the two likeliest tokens are closer than both errors together. Of files of integers, both sides round activations
// to int8; a third server, ours with float activations on the same file, tells how far each is from the exact product of
// it. The exit code is 1 where answers part otherwise, where an error is larger than rounding explains, where one side's
// noise is clearly larger than the other's, or where texts become other tokens. Last, every folder of safetensors goes to
// GGUF and back in its own type: each tensor must have the bytes that it had.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseFlags } from "../perf/parse-flags.mjs";
import { startServer } from "../server-process.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const main = path.join(root, "dist/cli/main.js");
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    only: { type: "string" },
    tokens: { type: "string", default: "24" },
    keep: { type: "string" },
  },
});
const testData = process.env.MILLRACE_TEST_DATA ?? path.resolve(root, "..", "shared");
const [llamaServer, models = path.join(testData, "models")] = positionals;
if (llamaServer === undefined) {
  console.error("LLAMA_SERVER is missing: the program llama-server of llama.cpp. --help tells more.");
  process.exit(2);
}

/**
 * What a model's file becomes. In F32, the largest difference of two log-probabilities that rounding explains: 1e-5 was
 * seen, and 2e-3 where llama.cpp takes GELU from a table of f16.
 */
const exact = { dtype: "float32", maxError: 5e-3 };
/**
 * Both sides round activations to int8 in blocks of 32, with scales of another width: a last bit of a scale turns over
 * other roundings in the next layer, so that two such runs differ by the noise of both. So each is measured against float
 * activations on the same file.
 */
const integers = (dtype) => ({ dtype, maxError: null });
/**
 * Bounds for files of integers, on what was seen over all of them. Our noise was 0.78 to 1.07 of theirs (root mean
 * squares), the least where llama.cpp adds that of its f16 table of GELU. A fault of our kernels raises ours; one of our
 * reading, which float activations share, raises theirs. The largest difference of the two was up to 1.18 of the larger
 * noise; the root of 2 is what independent noises would give.
 */
const maxOursOfTheirs = 1.2;
const maxTheirsOfOurs = 1.4;
const maxErrorOfNoise = Math.SQRT2;
/** For activations as the file has them. */
const floatActivations = ["--activations", "f32"];
/** Where rounding makes a router take another expert, answers part at once: no step before tells how far. */
const routed = ["mixtral", "qwen3-moe"];

const families = JSON.parse(readFileSync(path.join(root, "tests/tiny-families.json"), "utf8"));
const tinyModels = families.map((name) => ({
  name,
  source: path.join(models, "tiny", name),
  files: [exact, integers("q8_0")],
}));
const smollm2 = {
  name: "smollm2",
  source: path.join(models, "smollm2-135m-instruct-q4_1.gguf"),
  golden: path.join(models, "smollm2-135m-instruct.golden.json"),
  files: [exact, integers("q8_0"), integers("q4_0"), integers("auto")],
};
const only = flags.only?.split(",");
const chosen = [...tinyModels, smollm2].filter(({ name }) => only?.includes(name) ?? true);

/** Alternatives of a step that both sides tell. */
const numTop = 5;
const maxTokens = Number(flags.tokens);
const scratch = flags.keep ?? mkdtempSync(path.join(os.tmpdir(), "millrace-peers-"));
mkdirSync(scratch, { recursive: true });

/** What GGUF has no key for (Gemma 2's scale of attention), and what llama.cpp does not read (Mistral's window). */
const configEdits = {
  gemma2: ({ head_dim }) => ({ query_pre_attn_scalar: head_dim }),
  "mistral-window": () => ({ sliding_window: null }),
};

/** The model's folder, with a configuration that both sides understand. */
function sourceOf({ name, source }) {
  const edit = configEdits[name];
  if (edit === undefined) return source;
  const copy = path.join(scratch, name);
  cpSync(source, copy, { recursive: true });
  const file = path.join(copy, "config.json");
  const config = JSON.parse(readFileSync(file, "utf8"));
  writeFileSync(file, JSON.stringify({ ...config, ...edit(config) }));
  return copy;
}

/**
 * A tokenizer for models that have none: two letters for each token. Texts are whole characters, as llama.cpp leaves out
 * the probabilities of a token that ends inside one, and no name of a model is looked up in them.
 */
function writeTokenizer(vocabSize) {
  const file = path.join(scratch, "tokenizer.json");
  const special = ["<pad>", "<s>", "</s>"].map((content, id) => ({
    id,
    content,
    special: true,
    normalized: false,
  }));
  const letter = (number) => String.fromCharCode(97 + number);
  const vocab = {};
  for (let id = 0; id < vocabSize; id += 1)
    vocab[special[id]?.content ?? letter(Math.floor(id / 26)) + letter(id % 26)] = id;
  const byteLevel = { type: "ByteLevel", add_prefix_space: false };
  const parts = {
    added_tokens: special,
    pre_tokenizer: { ...byteLevel, use_regex: true },
    decoder: byteLevel,
  };
  writeFileSync(
    file,
    JSON.stringify({ version: "1.0", ...parts, model: { type: "BPE", vocab, merges: [] } }),
  );
  return file;
}

/** llama.cpp looks for names of models in a file's; this one tells it nothing. */
function convert(model, dtype) {
  const out = path.join(scratch, `peer-${chosen.indexOf(model)}-${dtype}.gguf`);
  const tokenizer = model.golden === undefined ? ["--tokenizer", writeTokenizer(512)] : [];
  runConvert(sourceOf(model), "--out", out, "--dtype", dtype, ...tokenizer);
  return out;
}

function runConvert(...args) {
  execFileSync(process.execPath, [main, "convert", ...args], { stdio: "pipe" });
}

/** Whether safetensors → GGUF → safetensors gives every tensor back to the bit. */
function comesBack(model) {
  const gguf = convert(model, "auto");
  const folder = path.join(scratch, "back");
  try {
    runConvert(gguf, "--out", folder);
    const [before, after] = [model.source, folder].map((place) =>
      tensorsOf(path.join(place, "model.safetensors")),
    );
    return before === after;
  } finally {
    for (const made of [gguf, folder]) rmSync(made, { recursive: true, force: true });
  }
}

/** Name, type, shape and hash of every tensor of a file. */
function tensorsOf(file) {
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const { __metadata__: _, ...tensors } = JSON.parse(bytes.toString("utf8", 8, start));
  const lines = Object.entries(tensors).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      const hash = createHash("sha256").update(bytes.subarray(start + from, start + to));
      return `${name} ${dtype} ${shape} ${hash.digest("hex")}`;
    },
  );
  return lines.sort().join("\n");
}

const startOurs = (file, more) =>
  startServer((port) => {
    const own = `--port ${port} --max-model-len 256 --kv-cache-dtype f32 --kv-cache-memory-bytes 64MiB`;
    return [process.execPath, main, "serve", file, ...own.split(" "), ...more];
  });
const startTheirs = (file) =>
  startServer((port) => {
    const own = `--host 127.0.0.1 --port ${port} -c 256 -np 1 -fa off -ctk f32 -ctv f32 --no-webui`;
    return [llamaServer, "-m", file, ...own.split(" ")];
  });

async function post(url, body) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

/** Greedy tokens, and at each step the log-probabilities of the likeliest by id. */
async function answerOfOurs(url, prompt) {
  const asked = { prompt, temperature: 0, max_tokens: maxTokens, return_token_ids: true };
  const { choices } = await post(`${url}/v1/completions`, asked);
  const tokens = choices[0].token_ids;
  // By id they are told of prompts only; equal requests give equal bytes, so this scores the answer's own steps.
  return { tokens, steps: await stepsOfOurs(url, prompt, tokens, numTop) };
}

/** The log-probabilities of the `numLikeliest` likeliest tokens by id at each step of an answer. */
async function stepsOfOurs(url, prompt, tokens, numLikeliest) {
  const scored = { prompt: [...prompt, ...tokens], max_tokens: 1, prompt_logprobs: numLikeliest };
  const [{ prompt_logprobs: rows }] = (await post(`${url}/v1/completions`, scored)).choices;
  return rows
    .slice(prompt.length)
    .map((row) => new Map(Object.entries(row).map(([id, { logprob }]) => [Number(id), logprob])));
}

async function answerOfTheirs(url, prompt) {
  const asked = { prompt, temperature: 0, n_predict: maxTokens, return_tokens: true };
  const { tokens, completion_probabilities: rows } = await post(`${url}/completion`, {
    ...asked,
    n_probs: numTop,
    cache_prompt: false,
  });
  // A token that ends inside a character has no row.
  const left = [...rows];
  const steps = tokens.map((token) => {
    const row = left[0]?.id === token ? left.shift() : undefined;
    return new Map(row?.top_logprobs.map(({ id, logprob }) => [id, logprob]) ?? []);
  });
  return { tokens, steps };
}

/** The largest difference of two sides over steps of equal contexts, and the sum of squares. */
function differenceOf(steps, others) {
  const differences = steps.flatMap((step, i) =>
    [...step]
      .filter(([id]) => others[i].has(id))
      .map(([id, logprob]) => Math.abs(logprob - others[i].get(id))),
  );
  return {
    most: Math.max(0, ...differences),
    squares: sumOf(differences.map((each) => each ** 2)),
    count: differences.length,
  };
}

const sumOf = (values) => values.reduce((total, value) => total + value, 0);

/**
 * How many tokens are equal, the differences up to there, and our gap between both choices where they part. `exactSteps`
 * are the same steps of our tokens with float activations, or null.
 */
function compare(ours, theirs, exactSteps) {
  const length = Math.min(ours.tokens.length, theirs.tokens.length);
  let numEqual = 0;
  while (numEqual < length && ours.tokens[numEqual] === theirs.tokens[numEqual]) numEqual += 1;
  // Where answers part, the context was still equal.
  const numSteps = Math.min(numEqual + 1, length);
  const [own, other] = [ours, theirs].map(({ steps }) => steps.slice(0, numSteps));
  const error = differenceOf(own.slice(0, numEqual), other).most;
  const noise =
    exactSteps === null
      ? null
      : { ours: differenceOf(own, exactSteps), theirs: differenceOf(other, exactSteps) };
  if (numEqual === length) return { numEqual, length, error, noise, gap: null };
  const step = ours.steps[numEqual];
  const gap = step.get(ours.tokens[numEqual]) - (step.get(theirs.tokens[numEqual]) ?? -Infinity);
  return { numEqual, length, error, noise, gap };
}

function promptsOf({ source, golden }) {
  const { prompts } = JSON.parse(readFileSync(golden ?? path.join(source, "golden.json"), "utf8"));
  return prompts.map(({ prompt, ids }) => ({
    text: ids === undefined ? null : prompt,
    ids: ids ?? prompt,
  }));
}

/** Whether a text becomes the same tokens on both sides, as it was recorded. */
async function areTokensEqual(ours, theirs, { text, ids }) {
  if (text === null) return true;
  const own = (await post(`${ours.url}/tokenize`, { prompt: text })).tokens;
  const { tokens } = await post(`${theirs.url}/tokenize`, { content: text, add_special: true });
  return [own, tokens].every((seen) => seen.join() === ids.join());
}

async function compareFile(model, { dtype, maxError }) {
  const file = convert(model, dtype);
  const servers = [];
  try {
    const isExact = maxError !== null;
    servers.push(await startOurs(file, isExact ? floatActivations : []), await startTheirs(file));
    if (!isExact) servers.push(await startOurs(file, floatActivations));
    const [ours, theirs, floats] = servers;
    const results = [];
    let areTexts = true;
    for (const prompt of promptsOf(model)) {
      areTexts &&= await areTokensEqual(ours, theirs, prompt);
      const own = await answerOfOurs(ours.url, prompt.ids);
      const other = await answerOfTheirs(theirs.url, prompt.ids);
      // Enough of the likeliest that what either side tells is among them.
      const steps = isExact ? null : await stepsOfOurs(floats.url, prompt.ids, own.tokens, 4 * numTop);
      results.push(compare(own, other, steps));
    }
    return judge(results, { maxError, areTexts, isRouted: routed.includes(model.name) });
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    if (flags.keep === undefined) rmSync(file);
  }
}

/** Root mean square and largest difference from float activations, of one side over all prompts. */
function noiseOf(results, side) {
  const noises = results.map(({ noise }) => noise[side]);
  const [squares, count] = ["squares", "count"].map((key) => sumOf(noises.map((noise) => noise[key])));
  return { rms: Math.sqrt(squares / count), most: Math.max(...noises.map(({ most }) => most)) };
}

const short = (value) => value.toExponential(1);

/** What is wrong with an integer file's noise, how large an error it explains, and a line for people. */
function judgeNoise(results) {
  const [ours, theirs] = ["ours", "theirs"].map((side) => noiseOf(results, side));
  const told = ({ rms, most }) => `${short(rms)} (most ${short(most)})`;
  return {
    faults: [
      ...(ours.rms <= maxOursOfTheirs * theirs.rms ? [] : [`our noise above ${maxOursOfTheirs} of theirs`]),
      ...(theirs.rms <= maxTheirsOfOurs * ours.rms ? [] : [`their noise above ${maxTheirsOfOurs} of ours`]),
    ],
    maxError: maxErrorOfNoise * Math.max(ours.most, theirs.most),
    line: `, noise ours ${told(ours)}, theirs ${told(theirs)}`,
  };
}

function judge(results, { maxError, areTexts, isRouted }) {
  const sum = (key) => sumOf(results.map((result) => result[key]));
  const error = Math.max(...results.map((result) => result.error));
  const gaps = results.map(({ gap }) => gap).filter((gap) => gap !== null);
  const noise = maxError === null ? judgeNoise(results) : { faults: [], maxError, line: "" };
  const faults = [
    ...noise.faults,
    ...(areTexts ? [] : ["other tokens of a text"]),
    ...(sum("numEqual") > 0 ? [] : ["no equal token"]),
    ...(error <= noise.maxError ? [] : [`error above ${short(noise.maxError)}`]),
    ...(gaps.every((gap) => gap <= 2 * (isRouted ? noise.maxError : error))
      ? []
      : ["parted at a gap wider than both errors"]),
  ];
  const parted = gaps.length === 0 ? "" : `, parted at gaps of ${gaps.map(short).join(", ")}`;
  const line = `${sum("numEqual")} of ${sum("length")} tokens equal, error ${short(error)}${noise.line}${parted}`;
  return { line, faults, isSame: gaps.length === 0 };
}

let numFailed = 0;
const same = [];
const back = [];
try {
  for (const model of chosen) {
    for (const file of model.files) {
      const { line, faults, isSame } = await compareFile(model, file);
      if (isSame && file === exact) same.push(model.name);
      if (faults.length > 0) numFailed += 1;
      const verdict = faults.length === 0 ? "ok" : `FAILED: ${faults.join("; ")}`;
      console.log(`${model.name.padEnd(15)}${file.dtype.padEnd(9)}${line}: ${verdict}`);
    }
  }
  for (const model of chosen.filter(({ golden }) => golden === undefined)) {
    if (comesBack(model)) back.push(model.name);
    else numFailed += 1;
  }
} finally {
  if (flags.keep === undefined) rmSync(scratch, { recursive: true, force: true });
}
console.log(`GGUF from \`millrace convert\` gives llama.cpp the same greedy text: ${same.join(", ")}`);
console.log(`safetensors → GGUF → safetensors gives every tensor back to the bit: ${back.join(", ")}`);
console.log(numFailed === 0 ? "all agree" : `${numFailed} do not agree`);
process.exitCode = numFailed === 0 ? 0 : 1;
