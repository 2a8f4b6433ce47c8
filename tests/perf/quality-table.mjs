// What each scheme and method costs in quality: bytes, mean KL against the float model, top-1 agreement, perplexity ratio.
//
//   node tests/perf/quality-table.mjs MODEL TEXT [--tokenizer FILE] [--calibration FILE] [--calibration-size 64x512]
//     [--max-tokens 4096] [--only w4a16,gptq] [--peer NAME=PATH]… [--record docs/compression-table.json] [--out FOLDER]
//
// Each model is made by `millrace quantize`, compared by `millrace diff` with the kernels that serve, and removed. Give a
// calibration text that is not TEXT. Rows of --only have all of its words in their name. One line of JSON for each row
// goes to FOLDER/quality.jsonl, from which a stopped run goes on. --peer measures a model that another tool made of MODEL.
// --record writes all rows of FOLDER for `node scripts/generate-docs.mjs`.
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { qualityTable } from "./compression-page.mjs";
import { parseFlags } from "./parse-flags.mjs";

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const text = { type: "string" };
const { values: options, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    tokenizer: text,
    calibration: text,
    "calibration-size": { ...text, default: "64x512" },
    "max-tokens": { ...text, default: "4096" },
    only: { ...text, default: "" },
    peer: { ...text, multiple: true, default: [] },
    record: text,
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

/** Arguments of `millrace quantize` by the name of a row. */
function listRows() {
  const methods = ["rtn", "mse", ...(options.calibration === undefined ? [] : ["imatrix", "gptq"])];
  const smoothings = options.calibration === undefined ? [""] : ["", " smooth"];
  const inGroups = (size) => ["--group-size", String(size)];
  const grids = [
    { grid: "w8a8", own: [] },
    { grid: "w8a16", own: [] },
    ...[128, 64, 32].flatMap((size) => [
      { grid: `w4a16 g${size}`, own: inGroups(size) },
      { grid: `w4a16 g${size} asym`, own: [...inGroups(size), "--asymmetric"] },
    ]),
    { grid: "w4a8 g32", own: inGroups(32) },
    { grid: "w3a16 g32", own: inGroups(32) },
    { grid: "w2a16 g32", own: inGroups(32) },
  ];
  const mixes = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k"];
  const blocks = mixes.flatMap((scheme) =>
    methods
      .filter((method) => method !== "gptq")
      .map((method) => ({ name: `${scheme} ${method}`, args: ["--scheme", scheme, "--method", method] })),
  );
  return [...blocks, ...listGroups({ grids, methods, smoothings })];
}

function listGroups({ grids, methods, smoothings }) {
  return grids.flatMap(({ grid, own }) =>
    methods.flatMap((method) =>
      smoothings.map((smoothing) => ({
        name: `${grid} ${method}${smoothing}`,
        args: [
          "--scheme",
          grid.split(" ")[0],
          ...own,
          "--method",
          method,
          ...(smoothing === "" ? [] : ["--smooth"]),
        ],
      })),
    ),
  );
}

function millrace(...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  return { status, stdout, stderr };
}

function measure({ name, args }, folder) {
  const made = path.join(folder, "model");
  rmSync(made, { recursive: true, force: true });
  const tokenizer = options.tokenizer === undefined ? [] : ["--tokenizer", options.tokenizer];
  const calibration =
    options.calibration === undefined
      ? []
      : [
          "--calibration",
          options.calibration,
          "--calibration-size",
          options["calibration-size"],
          ...tokenizer,
        ];
  const quantized = millrace("quantize", model, ...args, ...calibration, "--json", "--out", made);
  // A group size that does not divide this model's widths is no fault of the table.
  if (quantized.status !== 0) return { name, refused: quantized.stderr.trim().split("\n").at(-1) };
  const manifest = JSON.parse(quantized.stdout);
  const figures = compare(made);
  rmSync(made, { recursive: true });
  const seconds = Math.round(manifest.origin.durationMs / 1000);
  return { name, seconds, ...figures };
}

/** A model beside the float one. */
function compare(other) {
  const tokenizer = options.tokenizer === undefined ? [] : ["--tokenizer", options.tokenizer];
  const maxTokens = ["--max-tokens", options["max-tokens"]];
  const compared = millrace("diff", model, other, ...tokenizer, "--text", evaluated, ...maxTokens, "--json");
  if (compared.status !== 0) throw new Error(compared.stderr);
  const { kl, topAgreement, perplexity, numTokens } = JSON.parse(compared.stdout);
  return { sizeBytes: weightBytes(other), numTokens, kl, topAgreement, perplexity };
}

/** Bytes of a weight file, or of those of a folder. */
function weightBytes(place) {
  if (statSync(place).isFile()) return statSync(place).size;
  const files = readdirSync(place).filter((name) => /\.(safetensors|gguf)$/.test(name));
  return files.reduce((sum, name) => sum + statSync(path.join(place, name)).size, 0);
}

mkdirSync(options.out, { recursive: true });
const journal = path.join(options.out, "quality.jsonl");
const known = new Map(
  (existsSync(journal) ? readFileSync(journal, "utf8").split("\n").filter(Boolean) : []).map((line) => {
    const row = JSON.parse(line);
    return [row.name, row];
  }),
);
const words = options.only.split(",").filter(Boolean);
const peers = options.peer.map((given) => {
  const [name, ...place] = given.split("=");
  return { name, make: () => ({ name, ...compare(place.join("=")) }) };
});
const own = listRows().map((row) => ({ name: row.name, make: () => measure(row, options.out) }));
const rows = [];
for (const row of [...peers, ...own]) {
  if (!words.every((word) => row.name.split(" ").includes(word))) continue;
  const found = known.get(row.name) ?? row.make();
  if (!known.has(row.name)) appendFileSync(journal, `${JSON.stringify(found)}\n`);
  process.stderr.write(`${row.name}: ${found.refused ?? found.kl.mean.toFixed(5)}\n`);
  rows.push(found);
}
process.stdout.write(`${qualityTable(rows).join("\n")}\n`);
if (options.record !== undefined) {
  const all = [...known.values(), ...rows.filter(({ name }) => !known.has(name))];
  const record = {
    model: path.basename(model),
    text: path.basename(evaluated),
    numTokens: all[0].numTokens,
    calibration:
      options.calibration === undefined
        ? "No row was calibrated."
        : `Calibrated rows saw ${options["calibration-size"]} tokens of another text.`,
    rows: all,
  };
  writeFileSync(options.record, `${JSON.stringify(record, null, 2)}\n`);
}
