// What each scheme and method costs in quality: bytes, mean KL against the float model, top-1 agreement, perplexity ratio;
// beside what other tools make of the same model.
//
//   node tests/perf/quality-table.mjs MODEL TEXT [--tokenizer FILE] [--calibration FILE] [--calibration-size 128x512]
//     [--max-tokens 20000] [--mixed 91.7MB]… [--llama-cpp FOLDER] [--llm-compressor PYTHON] [--only w4a16,gptq]…
//     [--at-once 6] [--record docs/compression-table.json --model-name TEXT --text-name TEXT --calibration-name TEXT]
//     [--out FOLDER]
//
// Models are made as `millrace quantize` makes them, or by the programs of FOLDER and PYTHON, compared as `millrace diff`
// compares, by the kernels that serve, and removed; --at-once of them stand beside one run of the float model. --mixed is a
// size for `--budget "size<=…" --mixed`. Bytes are those of the tensors: a tokenizer in the file does not count. Give a
// calibration text that is not TEXT. A row of --only has all of its words in its name, or is named by all that follows a
// "="; rows come in the order of these. One line of JSON for each row goes to FOLDER of --out, from which a stopped run goes
// on; it must be of the same MODEL, TEXT, --max-tokens and calibration. --record writes all rows of that folder for
// `node scripts/generate-docs.mjs`, in place of those of the same name in the file; the others stay, and the page marks those
// of another calibration.
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { compressorRowsOf, llamaRows } from "../peers/peer-quantizers.mjs";
import { qualityTable, usesOurIds } from "./compression-page.mjs";
import { parseFlags } from "./parse-flags.mjs";
import { checkInputs } from "./quality-inputs.mjs";
import { placeOf, QualityModels } from "./quality-models.mjs";
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
    "max-tokens": { ...text, default: "20000" },
    mixed: list,
    "llama-cpp": text,
    "llm-compressor": text,
    only: list,
    "at-once": { ...text, default: "6" },
    record: text,
    "model-name": text,
    "text-name": text,
    "calibration-name": text,
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
mkdirSync(path.join(options.out, "models"), { recursive: true });
const inFolder = (name) => path.join(options.out, name);
const tokenizer = options.tokenizer === undefined ? [] : ["--tokenizer", options.tokenizer];
const isCalibrated = options.calibration !== undefined;
const [count, length] = options["calibration-size"].split("x").map(Number);
const tokens = path.resolve(inFolder("calibration.json"));
const models = new QualityModels(model, options.tokenizer);
const calibrationSha256 = isCalibrated
  ? await models.calibrate(options.calibration, { count, length }, tokens)
  : null;
const maxTokens = Number(options["max-tokens"]);
await checkInputs(inFolder("inputs.json"), {
  weights: models.weightFiles(),
  text: evaluated,
  maxTokens,
  calibrationSha256,
});

function demand(...args) {
  const { status, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

/** The model as a GGUF file of its own floats. */
function floatGguf() {
  const file = inFolder("float.gguf");
  if (!existsSync(file)) demand("convert", model, ...tokenizer, "--dtype", "bfloat16", "--out", file);
  return file;
}

function makeMixed(size, outPath) {
  // Candidates are compared on the calibration text, so that none is chosen by what the table is measured on.
  const search = [
    "--budget",
    `size<=${size}`,
    "--mixed",
    "--text",
    options.calibration,
    "--max-tokens",
    "2048",
  ];
  demand("quantize", model, ...search, "--calibration", tokens, ...tokenizer, "--out", outPath);
}

/** Rows of other tools, each with a function that makes its file. */
function peerRows() {
  const scratch = options.out;
  const threads = String(availableParallelism());
  const pieces = isCalibrated ? { file: options.calibration, count, length } : null;
  const [folder, python] = [options["llama-cpp"], options["llm-compressor"]];
  const llama = { folder, source: floatGguf, calibration: pieces, scratch, threads };
  const compressor = { python, model, tokens: isCalibrated ? tokens : null };
  return [
    ...(folder === undefined ? [] : llamaRows(llama)),
    ...(python === undefined ? [] : compressorRowsOf(compressor)),
  ].map((row) => ({ ...row, isPeer: true }));
}

const all = [
  ...ownRows(isCalibrated).map((row) => ({
    ...row,
    makeFile: (outPath) => models.make(row.wishes, { isCalibrated: row.isCalibrated, outPath }),
  })),
  ...options.mixed.map((size) => ({
    name: `mixed ${size} gptq`,
    isCalibrated: true,
    makeFile: (outPath) => makeMixed(size, outPath),
  })),
  ...peerRows(),
];
const isNamed = (name, words) =>
  words.startsWith("=")
    ? words.slice(1) === name
    : words.split(",").every((word) => name.split(" ").includes(word));
const wanted =
  options.only.length === 0
    ? all
    : new Set(options.only.flatMap((words) => all.filter(({ name }) => isNamed(name, words))));

const journal = inFolder("quality.jsonl");
const known = new Map(
  (existsSync(journal) ? readFileSync(journal, "utf8").split("\n").filter(Boolean) : []).map((line) => {
    const row = JSON.parse(line);
    return [row.name, row];
  }),
);

function keep(found) {
  const row = { ...found, calibrationSha256: usesOurIds(found) ? calibrationSha256 : null };
  known.set(row.name, row);
  appendFileSync(journal, `${JSON.stringify(row)}\n`);
  process.stderr.write(`${row.name}: ${row.refused ?? row.kl.mean.toFixed(5)}\n`);
}

/** Makes a row's model where no earlier run did; false where it is refused. */
async function make({ name, isCalibrated: uses, isPeer = false, makeFile }) {
  const { place, done, isMade } = placeOf(options.out, name);
  if (isMade) return true;
  const refused = await makeFile(place);
  if (typeof refused === "string") keep({ name, isCalibrated: uses, isPeer, refused });
  else writeFileSync(done, `${JSON.stringify({ name })}\n`);
  return typeof refused !== "string";
}

async function measure(rows) {
  const places = rows.map(({ name }) => placeOf(options.out, name));
  const figures = await models.compare(
    places.map(({ place }) => place),
    { text: evaluated, maxTokens },
  );
  for (const [i, { name, isCalibrated: uses, isPeer = false }] of rows.entries()) {
    keep({ name, isCalibrated: uses, isPeer, ...figures[i] });
    for (const own of [places[i].done, places[i].place]) rmSync(own, { recursive: true });
  }
}

let ready = [];
for (const row of wanted) {
  if (known.has(row.name)) continue;
  if (await make(row)) ready.push(row);
  if (ready.length < Number(options["at-once"])) continue;
  await measure(ready);
  ready = [];
}
if (ready.length > 0) await measure(ready);
models.close();
const rows = [...known.values()];
process.stdout.write(`${qualityTable(rows, calibrationSha256).join("\n")}\n`);

/** Rows of an earlier record that this folder has not. Throws where they are of another model or text. */
function earlierRows(file, { model: name, text: prose, numTokens }) {
  if (!existsSync(file)) return [];
  const earlier = JSON.parse(readFileSync(file, "utf8"));
  if (earlier.model !== name || earlier.text !== prose || earlier.numTokens !== numTokens)
    throw new Error(`${file} is of ${earlier.numTokens} tokens of ${earlier.text} and ${earlier.model}.`);
  return earlier.rows.filter((row) => !known.has(row.name));
}

if (options.record !== undefined) {
  const record = {
    model: options["model-name"] ?? path.basename(model),
    text: options["text-name"] ?? path.basename(evaluated),
    numTokens: rows.find(({ numTokens }) => numTokens !== undefined).numTokens,
    calibrationSize: isCalibrated ? options["calibration-size"] : null,
    calibrationName:
      options["calibration-name"] ?? (isCalibrated ? path.basename(options.calibration) : null),
    calibrationSha256,
  };
  record.rows = [...rows, ...earlierRows(options.record, record)].map((row) =>
    usesOurIds(row) ? row : { ...row, calibrationSha256: null },
  );
  writeFileSync(options.record, `${JSON.stringify(record, null, 2)}\n`);
}
