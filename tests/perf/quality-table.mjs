// What each scheme and method costs in quality: bytes, mean KL against the float model, top-1 agreement, perplexity ratio;
// beside what other tools make of the same model.
//
//   node tests/perf/quality-table.mjs MODEL TEXT [--tokenizer FILE] [--calibration FILE] [--calibration-size 128x512]
//     [--max-tokens 4096] [--mixed 91.7MB]… [--llama-cpp FOLDER] [--llm-compressor PYTHON] [--only w4a16,gptq]…
//     [--record docs/compression-table.json --model-name TEXT --text-name TEXT] [--out FOLDER]
//
// Each model is made by `millrace quantize`, or by the programs of FOLDER and PYTHON, compared by `millrace diff` with the
// kernels that serve, and removed. --mixed is a size for `--budget "size<=…" --mixed`. Bytes are those of the tensors: a
// tokenizer in the file does not count. Give a calibration text that is not TEXT. A row of --only has all of its words in
// its name. One line of JSON for each row goes to FOLDER of --out, from which a stopped run goes on. --record writes all
// rows of that folder for `node scripts/generate-docs.mjs`.
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { compressorRowsOf, llamaRows } from "../peers/peer-quantizers.mjs";
import { qualityTable } from "./compression-page.mjs";
import { parseFlags } from "./parse-flags.mjs";
import { ownRows } from "./quality-rows.mjs";

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const text = { type: "string" };
const list = { ...text, multiple: true, default: [] };
const { values: options, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    tokenizer: text,
    calibration: text,
    "calibration-size": { ...text, default: "128x512" },
    "max-tokens": { ...text, default: "4096" },
    mixed: list,
    "llama-cpp": text,
    "llm-compressor": text,
    only: list,
    record: text,
    "model-name": text,
    "text-name": text,
    out: { ...text, default: "out/quality" },
  },
});
const [model, evaluated] = positionals;
if (model === undefined || evaluated === undefined) {
  process.stderr.write(
    "Usage: node tests/perf/quality-table.mjs MODEL TEXT [options]; see the top of the file.\n",
  );
  process.exit(2);
}
mkdirSync(options.out, { recursive: true });
const inFolder = (name) => path.join(options.out, name);
const tokenizer = options.tokenizer === undefined ? [] : ["--tokenizer", options.tokenizer];
const isCalibrated = options.calibration !== undefined;
const calibration = isCalibrated
  ? ["--calibration", options.calibration, "--calibration-size", options["calibration-size"]]
  : [];
const made = inFolder("model");
/** Token ids as an earlier row of ours used them. */
const tokens = inFolder("calibration.json");

function millrace(...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  return { status, stdout, stderr };
}

function demand(...args) {
  const { status, stdout, stderr } = millrace(...args);
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

function quantize(args) {
  rmSync(made, { recursive: true, force: true });
  const result = millrace("quantize", model, ...args, ...tokenizer, "--json", "--out", made);
  const own = path.join(made, "millrace-calibration.json");
  if (existsSync(own)) copyFileSync(own, tokens);
  return result;
}

function measureOwn({ name, args, isCalibrated: uses }) {
  const { status, stdout, stderr } = quantize([...args, ...(uses ? calibration : [])]);
  // A group size that does not divide this model's widths is no fault of the table; anything else is.
  if (status !== 0) {
    if (!stderr.trimEnd().endsWith("[invalid_scheme]")) throw new Error(stderr);
    return { name, refused: stderr.trim().split("\n").at(-1) };
  }
  const seconds = Math.round(JSON.parse(stdout).origin.durationMs / 1000);
  return { seconds, ...compare(made) };
}

function measureMixed(size) {
  const search = ["--budget", `size<=${size}`, "--mixed", "--text", evaluated];
  const { status, stderr } = quantize([...search, ...calibration]);
  if (status !== 0) throw new Error(stderr);
  return compare(made);
}

function measurePeer({ makeFile }) {
  const started = performance.now();
  const file = makeFile();
  const seconds = Math.round((performance.now() - started) / 1000);
  const figures = compare(file);
  rmSync(file, { recursive: true });
  return { seconds, ...figures };
}

/** A model beside the float one. */
function compare(other) {
  const maxTokens = ["--max-tokens", options["max-tokens"]];
  const args = ["diff", model, other, ...tokenizer, "--text", evaluated, ...maxTokens, "--json"];
  const { kl, topAgreement, perplexity, numTokens } = JSON.parse(demand(...args));
  return { sizeBytes: tensorBytes(other), numTokens, kl, topAgreement, perplexity };
}

function tensorBytes(place) {
  const { tensors } = JSON.parse(demand("inspect", place, "--json"));
  return tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0);
}

/** The model as a GGUF file of its own floats. */
function floatGguf() {
  const file = inFolder("float.gguf");
  if (!existsSync(file)) demand("convert", model, ...tokenizer, "--dtype", "bfloat16", "--out", file);
  return file;
}

function calibrationTokens() {
  if (!existsSync(tokens)) {
    const { status, stderr } = quantize(["--scheme", "w8a16", "--method", "imatrix", ...calibration]);
    if (status !== 0) throw new Error(stderr);
  }
  return path.resolve(tokens);
}

function peerRows() {
  const [count, length] = options["calibration-size"].split("x").map(Number);
  const scratch = options.out;
  const threads = String(availableParallelism());
  const pieces = isCalibrated ? { file: options.calibration, count, length } : null;
  const [folder, python] = [options["llama-cpp"], options["llm-compressor"]];
  const llama = { folder, source: floatGguf, calibration: pieces, scratch, threads };
  const compressor = { python, model, tokens: isCalibrated ? calibrationTokens : null, scratch };
  return [
    ...(folder === undefined ? [] : llamaRows(llama)),
    ...(python === undefined ? [] : compressorRowsOf(compressor)),
  ].map((row) => ({ ...row, isPeer: true, measure: () => measurePeer(row) }));
}

const all = [
  ...ownRows(isCalibrated).map((row) => ({ ...row, measure: () => measureOwn(row) })),
  ...options.mixed.map((size) => ({
    name: `mixed ${size} gptq`,
    isCalibrated: true,
    measure: () => measureMixed(size),
  })),
  ...peerRows(),
];
const isWanted = ({ name }) =>
  options.only.length === 0 ||
  options.only.some((words) => words.split(",").every((word) => name.split(" ").includes(word)));

const journal = inFolder("quality.jsonl");
const known = new Map(
  (existsSync(journal) ? readFileSync(journal, "utf8").split("\n").filter(Boolean) : []).map((line) => {
    const row = JSON.parse(line);
    return [row.name, row];
  }),
);
for (const { name, isCalibrated: uses, isPeer = false, measure } of all.filter(isWanted)) {
  if (!known.has(name)) {
    const row = { name, isCalibrated: uses, isPeer, ...measure() };
    known.set(name, row);
    appendFileSync(journal, `${JSON.stringify(row)}\n`);
  }
  const { refused, kl } = known.get(name);
  process.stderr.write(`${name}: ${refused ?? kl.mean.toFixed(5)}\n`);
}
for (const name of readdirSync(options.out))
  if (name.startsWith("model")) rmSync(inFolder(name), { recursive: true });
const rows = [...known.values()];
process.stdout.write(`${qualityTable(rows).join("\n")}\n`);
if (options.record !== undefined) {
  const record = {
    model: options["model-name"] ?? path.basename(model),
    text: options["text-name"] ?? path.basename(evaluated),
    numTokens: rows.find(({ numTokens }) => numTokens !== undefined).numTokens,
    calibrationSize: isCalibrated ? options["calibration-size"] : null,
    rows,
  };
  writeFileSync(options.record, `${JSON.stringify(record, null, 2)}\n`);
}
