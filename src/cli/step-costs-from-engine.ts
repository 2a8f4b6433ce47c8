import { countOf } from "../base/units.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import { loadEngine } from "../engine/load-engine.ts";
import { measureSteps } from "../engine/simulator/calibrate.ts";
import { fitStepCosts } from "../engine/simulator/fit-step-costs.ts";
import type { StepCostsFile } from "./step-costs-file.ts";

/** Runs the real engine in process on a grid of step shapes and fits the costs. */
export async function stepCostsFromEngine(
  model: string,
  options: EngineOptions,
  budgetMs: number,
): Promise<StepCostsFile> {
  const engine = await loadEngine(options);
  try {
    const { isa, numThreads, activations, kvDtype, maxModelLen, blockSize, memory, numTotalBlocks } =
      engine.info;
    const steps = await measureSteps(engine, budgetMs);
    const { model: costs, ...errors } = fitStepCosts(steps);
    return {
      kind: "step-costs",
      version: 1,
      model,
      measured: `the engine alone on ${isa}, ${countOf(numThreads, "thread")}, activations ${activations}, KV ${kvDtype}`,
      maxModelLen,
      blockSize,
      blockBytes: Math.round(memory.kvCache / numTotalBlocks),
      numKvBlocks: numTotalBlocks,
      costs,
      ...errors,
      steps,
    };
  } finally {
    await engine.close();
  }
}
