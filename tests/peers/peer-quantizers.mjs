// What other tools make of a model: rows of tests/perf/quality-table.mjs, each with a function that makes its file.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const llamaTypes = [
  "Q4_0",
  "IQ4_NL",
  "Q4_1",
  "Q4_K_S",
  "Q4_K_M",
  "Q5_0",
  "Q5_1",
  "Q5_K_S",
  "Q5_K_M",
  "Q6_K",
  "Q8_0",
];
/** Types below 6 bits gain by an importance matrix. */
const weighted = llamaTypes.filter((type) => !["Q6_K", "Q8_0"].includes(type));
const compressorRows = [
  ["w8a8", "rtn"],
  ["w8a8", "smooth-gptq"],
  ["w4a16-g32", "rtn"],
  ["w4a16-g32", "gptq"],
  ["w4a16-g64", "gptq"],
];

function run(program, args) {
  execFileSync(program, args, { stdio: ["ignore", "ignore", "pipe"], maxBuffer: 1 << 28 });
}

/**
 * Files of llama.cpp's llama-quantize. `source` gives the model as a float GGUF file; `calibration` is null or a text with
 * the number and length of the pieces that its importance matrix takes of it: the first ones, cut by its own tokenizer.
 */
export function llamaRows({ folder, source, calibration, scratch, threads }) {
  const matrix = path.join(scratch, "importance.gguf");
  const makeMatrix = () => {
    if (existsSync(matrix)) return;
    const { file, count, length } = calibration;
    const sizes = ["-c", String(length), "--chunks", String(count), "-t", threads];
    // It saves what it has now and then, which under the name itself would pass for the whole.
    const partial = path.join(scratch, "importance.partial.gguf");
    run(path.join(folder, "llama-imatrix"), ["-m", source(), "-f", file, "-o", partial, ...sizes]);
    renameSync(partial, matrix);
  };
  const rowOf = (type, isWeighted) => ({
    name: `llama-quantize ${type}${isWeighted ? " imatrix" : ""}`,
    isCalibrated: isWeighted,
    makeFile: (place) => {
      if (isWeighted) makeMatrix();
      const importance = isWeighted ? ["--imatrix", matrix] : [];
      mkdirSync(place, { recursive: true });
      const own = path.join(place, "model.gguf");
      run(path.join(folder, "llama-quantize"), [...importance, source(), own, type, threads]);
    },
  });
  return [
    ...llamaTypes.map((type) => rowOf(type, false)),
    ...(calibration === null ? [] : weighted.map((type) => rowOf(type, true))),
  ];
}

/** Folders of llm-compressor. `tokens` is null or the file of token ids that it is calibrated with. */
export function compressorRowsOf({ python, model, tokens }) {
  const script = fileURLToPath(new URL("llm_compressor.py", import.meta.url));
  return compressorRows
    .filter(([, method]) => method === "rtn" || tokens !== null)
    .map(([scheme, method]) => ({
      name: `llm-compressor ${scheme.replace("-", " ")} ${method}`,
      isCalibrated: method !== "rtn",
      makeFile: (place) =>
        run(python, [script, model, place, scheme, method, method === "rtn" ? "-" : tokens]),
    }));
}
