import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { MillraceError } from "../../src/base/errors.ts";
import { type Progress, silentProgress } from "../../src/base/progress.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { dequantize } from "../../src/formats/dequantize.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { createOps } from "../../src/kernels/create-ops.ts";
import { createSolver } from "../../src/kernels/create-solver.ts";
import { referenceSolver } from "../../src/kernels/reference/reference-solver.ts";
import type { Solver } from "../../src/kernels/solver.ts";
import {
  type CalibrationTokens,
  cutCalibration,
  decodeCalibration,
} from "../../src/quantize/calibration/calibration-tokens.ts";
import { captureInputs } from "../../src/quantize/calibration/capture-inputs.ts";
import { programBytes } from "../../src/quantize/memory-plan.ts";
import type { QuantizePlan } from "../../src/quantize/plan.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import type { QuantizationManifest } from "../../src/records/quantization-manifest.ts";
import { openModel, promptLogits } from "../golden/model-runs.ts";
import { describeWithData, testData } from "../test-data.ts";

let folder = "";
let base: Checkpoint;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-calibrated-"));
});
afterEach(() => {
  base?.close();
  rmSync(folder, { recursive: true });
});

/** Ids below 512 that follow a rule, so that inputs are related as those of a text are. */
const ids = Array.from({ length: 4096 }, (_, i) => (i * i * 7 + (i % 13) * 31) % 512);
const tokens = cutCalibration(ids, { count: 16, length: 64 }, "made up");

interface RunOptions {
  readonly numThreads?: number;
  readonly backend?: "native" | "reference";
  readonly progress?: Progress;
  readonly tokens?: CalibrationTokens;
  /** For what is not the model's run. */
  readonly solver?: Solver;
}

async function run(
  change: Partial<QuantizePlan>,
  {
    numThreads = 2,
    backend = "native",
    progress = silentProgress,
    tokens: own = tokens,
    solver: rounding = referenceSolver,
  }: RunOptions = {},
): Promise<QuantizationManifest> {
  const { ops } = createOps({ numThreads, backend });
  const solver = createSolver(ops);
  try {
    const plan: QuantizePlan = {
      scheme: "w4a16",
      groupSize: 32,
      method: "gptq",
      dtype: "auto",
      outPath: path.join(folder, "out"),
      ...change,
    };
    return await quantize(base, plan, {
      progress,
      solver: rounding,
      calibration: { tokens: own, ops, solver },
    });
  } finally {
    solver.close();
    ops.close();
  }
}

const hashOf = (name: string): string => {
  const file = readdirSync(path.join(folder, name)).find((own) => /\.(safetensors|gguf)$/.test(own))!;
  return createHash("sha256")
    .update(readFileSync(path.join(folder, name, file)))
    .digest("hex");
};

/** Of both file formats. */
const schemes: readonly Partial<QuantizePlan>[] = [
  { scheme: "w4a16", groupSize: 32 },
  { scheme: "q4_0", groupSize: null },
  { scheme: "q5_0", groupSize: null },
];

/** Mean squared difference of the outputs of one linear over tokens that calibration never saw. */
function outputErrors(written: string, prompt: readonly number[]): Map<string, number> {
  const { ops } = createOps({ numThreads: 1, backend: "native" });
  const after = openCheckpoint(path.join(folder, written));
  const errors = new Map<string, number>();
  const observed = captureInputs(ops, (name, values, rows) => {
    if (!name.endsWith("down_proj")) return;
    const cols = values.length / rows;
    const [w, q] = [base, after].map((model) => dequantize(model.linear(name)));
    let sum = 0;
    for (let row = 0; row < rows; row += 1) {
      for (let out = 0; out < w!.length / cols; out += 1) {
        let difference = 0;
        for (let i = 0; i < cols; i += 1)
          difference += values[row * cols + i]! * (w![out * cols + i]! - q![out * cols + i]!);
        sum += difference ** 2;
      }
    }
    errors.set(name, sum);
  });
  promptLogits(observed, openModel(observed, base.path), prompt);
  after.close();
  ops.close();
  return errors;
}

describeWithData("calibrated quantisation", () => {
  beforeEach(() => {
    base = openCheckpoint(testData("models", "compressed-tensors", "base"));
  });

  it.each(schemes)("brings outputs nearer on tokens that it never saw, with %o", async (plan) => {
    await run({ ...plan, method: "mse", outPath: path.join(folder, "mse") });
    const more = cutCalibration(ids, { count: 64, length: 64 }, "made up");
    const { tensors, calibration } = await run(plan, { tokens: more });
    expect(calibration).toMatchObject({ numSequences: 64, numTokens: 4096, numHeldOutTokens: 512 });
    let numRows = 0;
    let numPassedOn = 0;
    for (const { outcome, shape } of tensors) {
      // A head outside the layers is not calibrated.
      if (outcome === null) continue;
      const { rows } = outcome;
      expect(Object.values(rows).reduce((sum, count) => sum + count, 0)).toBe(shape[0]);
      numRows += shape[0]!;
      numPassedOn += rows["gptq"]!;
    }
    expect(numPassedOn / numRows).toBeGreaterThan(0.7);
    const unseen = Array.from({ length: 100 }, (_, i) => (i * 97 + 11) % 512);
    const [searched, passedOn] = ["mse", "out"].map((name) => outputErrors(name, unseen));
    expect(searched!.size).toBe(2);
    for (const [name, error] of searched!) expect(passedOn!.get(name)!).toBeLessThan(error);
  });

  it.each<Partial<QuantizePlan>>([
    { method: "gptq" },
    { method: "imatrix" },
    { method: "gptq", scheme: "q4_0", groupSize: null },
  ])(
    "%o gives the same bytes whatever the threads, the memory and the places where it was stopped",
    async (plan) => {
      await run(plan);
      const expected = hashOf("out");
      const manifest = await run({ ...plan, outPath: path.join(folder, "threads") }, { numThreads: 5 });
      expect(hashOf("threads")).toBe(expected);
      const { config, sizeBytes } = base;
      // One layer's statistics at a time, in bands of 32 rows.
      const widest = config.intermediateSize;
      const little = programBytes + sizeBytes + 45 * widest ** 2 * 4;
      await run({ ...plan, outPath: path.join(folder, "little"), maxMemoryBytes: little });
      expect(hashOf("little")).toBe(expected);
      for (let stop = 3; stop < 60; stop += 11) {
        let count = 0;
        const update = (): void => {
          count += 1;
          if (count === stop) throw new MillraceError("interrupted", "Stopped.");
        };
        const outPath = path.join(folder, "stopped");
        await run({ ...plan, outPath }, { progress: { ...silentProgress, update } }).catch(() => null);
        await run({ ...plan, outPath, replaceEarlier: existsSync(outPath) });
        expect(hashOf("stopped")).toBe(expected);
      }
      const again = decodeCalibration(
        readFileSync(path.join(folder, "out", "millrace-calibration.json"), "utf8"),
        "ids",
      );
      expect(again.sha256).toBe(manifest.calibration!.sha256);
      expect(again.sequences).toEqual(tokens.sequences);
    },
  );

  it("factorises each input once, for all linears that share it", async () => {
    let count = 0;
    const factorize: Solver["factorize"] = (...given) => {
      count += 1;
      return referenceSolver.factorize(...given);
    };
    await run({}, { solver: { ...referenceSolver, factorize } });
    expect(count).toBe(4 * base.config.numLayers);
  });

  it("finds about the same with the reference kernels", async () => {
    const native = await run({});
    const reference = await run({ outPath: path.join(folder, "reference") }, { backend: "reference" });
    for (const [i, { outcome }] of native.tensors.entries()) {
      const other = reference.tensors[i]!.outcome!;
      expect(Math.abs(outcome!.outputError / other.outputError - 1)).toBeLessThan(0.05);
    }
  });

  it("refuses tokens that are not the model's, and a method without tokens", async () => {
    const wrong = cutCalibration([...ids.slice(0, 200), 512], { count: 3, length: 67 }, "wrong");
    await expect(run({}, { tokens: wrong })).rejects.toMatchObject({
      code: "invalid_data_file",
      message: expect.stringMatching(/wrong has token 512 in sequence 2; the model has 512 tokens/) as string,
    });
    expect(existsSync(path.join(folder, "out.partial"))).toBe(false);
    const plan = { scheme: "w4a16", groupSize: 32, method: "gptq", dtype: "auto" } as const;
    await expect(quantize(base, { ...plan, outPath: path.join(folder, "out") })).rejects.toMatchObject({
      code: "invalid_option",
      message: expect.stringMatching(/--method gptq runs the model on a text.*--calibration/) as string,
    });
  });
});

describeWithData("smoothing", () => {
  it.each(["llama", "gemma2", "qwen2", "olmo2", "phi3"])(
    "changes no output of %s but by rounding",
    async (family) => {
      base = openCheckpoint(testData("models", "tiny", family));
      const manifest = await run({ scheme: "w8a8", groupSize: null, method: "mse", smooth: true });
      expect(manifest.notes.join()).toMatch(/Factors were folded into \d+ of \d+ inputs/);
      const { ops } = createOps({ numThreads: 2, backend: "native" });
      const prompt = Array.from({ length: 40 }, (_, i) => (i * 37) % 500);
      const [before, after] = [base.path, path.join(folder, "out")].map((model) =>
        promptLogits(ops, openModel(ops, model, { dtype: "auto", activations: "f32" }), prompt),
      );
      ops.close();
      const mean = before!.reduce((sum, x) => sum + x, 0) / before!.length;
      let error = 0;
      let spread = 0;
      for (const [i, x] of before!.entries()) {
        error += (x - after![i]!) ** 2;
        spread += (x - mean) ** 2;
      }
      // A wrong factor anywhere would make the outputs another model's.
      expect(Math.sqrt(error / spread)).toBeLessThan(0.05);
    },
  );

  it("leaves dense linears that share an input as they are, or moves them along", async () => {
    base = openCheckpoint(testData("models", "compressed-tensors", "base"));
    const ignore = ["re:.*(gate|up)_proj", "re:.*[qkv]_proj"];
    const manifest = await run({ scheme: "w8a8", groupSize: null, method: "estimate", smooth: true, ignore });
    expect(manifest.notes.join()).toMatch(/Factors were folded into 0 of 0 inputs/);
    const written = openCheckpoint(path.join(folder, "out"));
    expect(written.vector("model.layers.0.input_layernorm.weight")).toEqual(
      base.vector("model.layers.0.input_layernorm.weight"),
    );
    written.close();
  });
});

/** The sum of what the pattern finds in notes. */
function countBy(pattern: RegExp, { notes }: QuantizationManifest): number {
  return notes.reduce((sum, note) => sum + Number(pattern.exec(note)?.[1] ?? 0), 0);
}

describeWithData("a mixture of experts, calibrated", () => {
  it("uses the tokens that went to each expert, and says which got none", async () => {
    base = openCheckpoint(testData("models", "tiny", "qwen3-moe"));
    const few = cutCalibration(ids.slice(0, 8), { count: 2, length: 3 }, "few");
    const manifest = await run({}, { tokens: few });
    expect(manifest.notes.join()).toMatch(/\d+ linears got no calibration token and have scales by mse/);
    const seen = manifest.tensors.filter(({ name, outcome }) => /experts/.test(name) && outcome !== null);
    expect(seen.length).toBeGreaterThan(0);
    for (const { outcome } of seen) expect(outcome!.outputError).toBeGreaterThan(0);
    const inLayers = manifest.tensors.filter(({ name }) => name.startsWith("model.layers."));
    const numUnmeasured = inLayers.filter(({ outcome }) => outcome === null).length;
    expect(manifest.notes.join()).toMatch(
      /\d+ linears got no held-out token, or only zeros of them, and have/,
    );
    expect(countBy(/(\d+) linears? got /, manifest)).toBe(numUnmeasured);
  });

  it("says the same of linears that were written before it was stopped", async () => {
    base = openCheckpoint(testData("models", "tiny", "qwen3-moe"));
    const few = cutCalibration(ids.slice(0, 8), { count: 2, length: 3 }, "few");
    const whole = await run({ outPath: path.join(folder, "whole") }, { tokens: few });
    let count = 0;
    const update = (done: number, what?: string): void => {
      if (what?.startsWith("model.layers.1.") && done > 0) count += 1;
      if (count === 20) throw new MillraceError("interrupted", "Stopped.");
    };
    const stopped = run({}, { tokens: few, progress: { ...silentProgress, update } });
    await expect(stopped).rejects.toMatchObject({ code: "interrupted" });
    const { notes } = await run({}, { tokens: few });
    const ofResumed = notes.filter((note) => note.includes("of a run that was interrupted"));
    expect(ofResumed).toHaveLength(1);
    expect(notes.filter((note) => !ofResumed.includes(note))).toEqual(whole.notes);
  });
});
