// Makes the models of tests/perf/quality-table.mjs and compares them, in this process: what all calibrated rows need to know
// of the text is found once, and the float model runs once beside several others. The functions are those of `millrace
// quantize` and `millrace diff`.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { readCalibration } from "../../dist/cli/calibration-sequences.js";
import { kernelsText } from "../../dist/cli/kernels-text.js";
import { openModel, openTokenizer } from "../../dist/cli/model-source.js";
import { openLogits } from "../../dist/cli/open-logits.js";
import { compareLogits } from "../../dist/evaluate/divergence/compare-logits.js";
import { summarizeDivergences } from "../../dist/evaluate/divergence/summarize.js";
import { cutWindows } from "../../dist/evaluate/divergence/windows.js";
import { createOps } from "../../dist/kernels/create-ops.js";
import { createSolver } from "../../dist/kernels/create-solver.js";
import { encodeCalibration } from "../../dist/quantize/calibration/calibration-tokens.js";
import { KeptInputs } from "../../dist/quantize/calibration/kept-inputs.js";
import { quantize } from "../../dist/quantize/quantize.js";
import { startOrigin } from "../../dist/records/origin.js";

const windowSize = 512;
const precision = { dtype: "auto", activations: "auto" };

function openKernels() {
  const { ops, notes } = createOps({ numThreads: 0, backend: "auto" });
  if (ops.backend === "reference") throw new Error(notes.join("\n"));
  return ops;
}

/** One float model, and the models that are made of it. */
export class QualityModels {
  #checkpoint;
  #tokenizer;
  #tokens = null;
  /** What is kept of the inputs lies with these kernels. */
  #kept = new KeptInputs();
  #ops = null;
  #solver = null;

  constructor(model, tokenizer) {
    this.#checkpoint = openModel(model);
    this.#tokenizer = tokenizer;
  }

  /** Files of the float weights. */
  weightFiles() {
    return [...new Set(this.#checkpoint.tensors.map(({ file }) => file))];
  }

  /** Of a text a number of sequences of one length. Returns the hash of their tokens. */
  async calibrate(source, size, file) {
    this.#tokens = await readCalibration(this.#checkpoint, { source, size, tokenizer: this.#tokenizer });
    writeFileSync(file, encodeCalibration(this.#tokens));
    return this.#tokens.sha256;
  }

  /** A model folder; or, for a scheme that is not for this model's widths, the refusal's text. */
  async make(wishes, { isCalibrated, outPath }) {
    rmSync(outPath, { recursive: true, force: true });
    this.#ops ??= openKernels();
    this.#solver ??= createSolver(this.#ops);
    const [ops, solver] = [this.#ops, this.#solver];
    const calibration = isCalibrated ? { tokens: this.#tokens, ops, solver, kept: this.#kept } : null;
    try {
      const plan = { groupSize: null, dtype: "auto", maxMemoryBytes: null, ...wishes, outPath };
      await quantize(this.#checkpoint, plan, { openModel, calibration, solver });
      return null;
    } catch (error) {
      if (error.code === "invalid_scheme") return error.message;
      // What another build of this program left unfinished.
      const partial = `${outPath}.partial`;
      if (error.code !== "output_exists" || !existsSync(partial)) throw error;
      rmSync(partial, { recursive: true });
      return await this.make(wishes, { isCalibrated, outPath });
    }
  }

  close() {
    this.#solver?.close();
    this.#ops?.close();
    this.#checkpoint.close();
  }

  /** Figures of each model beside the float one over the first tokens of a text. */
  async compare(places, { text, maxTokens }) {
    const { tokenizer } = openTokenizer(this.#checkpoint, { tokenizer: this.#tokenizer });
    const { windows } = cutWindows(tokenizer, readFileSync(text, "utf8"), { size: windowSize, maxTokens });
    const ops = openKernels();
    const finishOrigin = startOrigin(kernelsText(ops));
    const made = places.map((place) => openModel(place));
    try {
      const [a, ...others] = [this.#checkpoint, ...made].map((checkpoint) =>
        openLogits(ops, checkpoint, { precision, windows }),
      );
      const found = await compareLogits({ a, others, windows });
      const origin = finishOrigin();
      return found.map((own, i) => {
        const { kl, topAgreement, perplexity, numTokens } = summarizeDivergences(own);
        return { sizeBytes: tensorBytes(made[i]), numTokens, kl, topAgreement, perplexity, origin };
      });
    } finally {
      ops.close();
      for (const checkpoint of made) checkpoint.close();
    }
  }
}

function tensorBytes(checkpoint) {
  return checkpoint.tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Where a row's model is, and whether an earlier run made it whole. */
export function placeOf(folder, name) {
  const place = path.join(folder, "models", name.replaceAll(" ", "-"));
  return { place, done: `${place}.json`, isMade: existsSync(`${place}.json`) };
}
