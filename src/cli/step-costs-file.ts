import { readFileSync } from "node:fs";
import { z } from "zod";
import { MillraceError, messageOf } from "../base/errors.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import { loadEngine } from "../engine/load-engine.ts";
import { measureSteps } from "../engine/simulator/calibrate.ts";
import { fitStepCosts } from "../engine/simulator/step-cost-model.ts";

const cost = z.number().min(0);
const count = z.number().int().min(1);

/** What a calibration found: costs of steps, and the sizes that a simulation of the same model needs. */
const stepCostsSchema = z.object({
  kind: z.literal("step-costs"),
  version: z.literal(1),
  model: z.string(),
  /** Machine and precision for which the costs hold. */
  isa: z.string(),
  numThreads: count,
  activations: z.string(),
  kvDtype: z.string(),
  maxModelLen: count,
  blockSize: count,
  /** K and V of all layers of one block. */
  blockBytes: count,
  /** Blocks that the engine took without being told a size. */
  numKvBlocks: count,
  costs: z.object({
    fixedMs: cost,
    perPrefillTokenMs: cost,
    perSequenceMs: cost,
    perContextTokenMs: cost,
    perPrefillPairMs: cost,
  }),
  /** Of the fit on its own steps: mean and largest |predicted − measured| / measured. */
  meanError: cost,
  maxError: cost,
  steps: z.array(
    z.object({
      shape: z.object({
        numPrefillTokens: z.number(),
        numSequences: z.number(),
        numContextTokens: z.number(),
        numPrefillPairs: z.number(),
      }),
      timeMs: z.number(),
    }),
  ),
});
export type StepCostsFile = z.infer<typeof stepCostsSchema>;

/** Reads what `--calibrate --out` wrote. Errors: `file_not_found`, `invalid_data_file`. */
export function readStepCosts(file: string): StepCostsFile {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new MillraceError(
      "file_not_found",
      `${file} cannot be read: ${messageOf(cause)}. Make it with millrace simulate --calibrate MODEL --out ${file}.`,
      { param: "--costs", cause },
    );
  }
  const parsed = stepCostsSchema.safeParse(parseJson(text));
  if (!parsed.success || parsed.data.costs.fixedMs + parsed.data.costs.perSequenceMs === 0) {
    const problem = parsed.error?.issues[0];
    const place =
      problem === undefined ? "a step costs nothing" : `${problem.path.join(".")}: ${problem.message}`;
    throw new MillraceError(
      "invalid_data_file",
      `${file} holds no step costs of this version (${place}). Make it anew with millrace simulate --calibrate MODEL --out ${file}.`,
      { param: "--costs" },
    );
  }
  return parsed.data;
}

/** Undefined for what is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Runs the real engine in process on a grid of step shapes and fits the costs. */
export async function calibrate(
  model: string,
  options: EngineOptions,
  budgetMs: number,
): Promise<StepCostsFile> {
  const engine = await loadEngine(options);
  try {
    const { info } = engine;
    const steps = await measureSteps(engine, budgetMs);
    const fit = fitStepCosts(steps);
    return {
      kind: "step-costs",
      version: 1,
      model,
      isa: info.isa,
      numThreads: info.numThreads,
      activations: info.activations,
      kvDtype: info.kvDtype,
      maxModelLen: info.maxModelLen,
      blockSize: info.blockSize,
      blockBytes: Math.round(info.memory.kvCache / info.numTotalBlocks),
      numKvBlocks: info.numTotalBlocks,
      costs: fit.model,
      meanError: fit.meanError,
      maxError: fit.maxError,
      steps,
    };
  } finally {
    await engine.close();
  }
}
