import type { WeightForm } from "../../base/weights.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { KvDtype, LinearWeight, Ops, RaggedBatch } from "../../kernels/ops.ts";
import type { CausalModel, PrecisionOptions } from "../../model/causal-model.ts";
import { loadModel } from "../../model/load-model.ts";
import { kvBlockBytes } from "../kv-plan.ts";
import { runStep, type StepSeconds, writePages } from "../step/run-step.ts";
import { batchOf, type StepShape } from "../step/step-batch.ts";
import { DummyWeights } from "./dummy-weights.ts";
import type { PlannedStep } from "./predict-load.ts";
import { type SampleLimits, type Sampler, type StepTiming, sampleInRounds } from "./step-samples.ts";

/** A model in the forms that it would have. */
export interface TimedModel {
  /** Its linears in these forms. */
  readonly linears: readonly LinearWeight[];
  readonly recast: (form: WeightForm, name: string) => WeightForm;
  readonly activations: PrecisionOptions["activations"];
  readonly kvDtype: KvDtype;
  readonly blockSize: number;
}

export interface TimerParts {
  readonly checkpoint: Checkpoint;
  /** Kernels as the engine would have them; closed after each model. */
  readonly createOps: () => Ops;
  readonly freeBytes: number;
}

const mebi = 1024 ** 2;
/** More than most last-level caches hold, so that a part of a model is read from where all of it would be. */
const weightBudget = 512 * mebi;
const kvBudget = 256 * mebi;
/** Of the free memory, what weights for timing may take: the file that they stand for is not there yet. */
const memoryShare = 0.5;

/**
 * Decode steps in a row, as an answer has them. Their mean counts: a prefill leaves other data in the caches, and on Emerald
 * Rapids the first five steps of SmolLM2 after one took 5.2 ms, those of long rows 3.6 ms.
 */
const decodeRow = { mostSteps: 64, mostSeconds: 0.5 } as const;

/**
 * Times real steps over dummy weights, with as many layers as 512 MiB hold: a larger model's layers are taken to be like
 * its first ones. What comes out is what the machine gives at the moment.
 *
 * @returns [steps.length], or null where even one layer takes too much of the free memory or the time was too short
 */
export function timeSteps(
  { checkpoint, createOps, freeBytes }: TimerParts,
  timed: TimedModel,
  steps: readonly PlannedStep[],
  limits: SampleLimits,
): StepTiming[] | null {
  if (!limits.isRequired && performance.now() > limits.deadline) return null;
  const { linears, recast, activations } = timed;
  const all = checkpoint.config.numLayers;
  const numLayers = layersWithin(linears, all, freeBytes);
  if (numLayers === 0) return null;
  const ops = createOps();
  try {
    const weights = new DummyWeights(checkpoint, { numLayers, recast });
    const maxModelLen = Math.max(...steps.map(({ contextLength }) => contextLength));
    const { model } = loadModel(ops, weights, { dtype: "auto", activations, maxModelLen });
    const run = prepareSteps(ops, model, timed, steps);
    const samplers = steps.map((step): Sampler => {
      const seconds = (): number => {
        const { layers, head } = run(step);
        return (layers * all) / numLayers + head;
      };
      return {
        isRow: step.isDecode,
        once: seconds,
        sample: step.isDecode ? () => meanOfRow(seconds) : seconds,
      };
    });
    return sampleInRounds(samplers, limits);
  } finally {
    ops.close();
  }
}

/** A cache and batches for all steps. */
function prepareSteps(
  ops: Ops,
  model: CausalModel,
  { kvDtype, blockSize }: TimedModel,
  steps: readonly StepShape[],
): (step: StepShape) => StepSeconds {
  const blockBytes = kvBlockBytes(model.kvShape, kvDtype, blockSize);
  const blocksOf = (step: StepShape): number => step.numSequences * Math.ceil(step.contextLength / blockSize);
  const wanted = Math.max(...steps.map(blocksOf));
  const numBlocks = Math.max(1, Math.min(wanted, Math.floor(kvBudget / blockBytes)));
  const cache = ops.createKvCache({ ...model.kvShape, numBlocks, blockSize, dtype: kvDtype });
  writePages(ops, model, cache);
  const batches = new Map(
    steps.map((step) => {
      const batch = batchOf(step, model.vocabSize, blockSize);
      return [step, withinBlocks(batch, numBlocks, blockSize)];
    }),
  );
  return (step) => runStep(ops, model, cache, batches.get(step)!);
}

/**
 * Layers whose weights fit into `weightBudget` beside those outside of layers, and at least one; 0 where that would take too
 * much of the free memory.
 */
function layersWithin(linears: readonly LinearWeight[], numLayers: number, freeBytes: number): number {
  let inLayers = 0;
  let outside = 0;
  for (const { name, sizeBytes } of linears) {
    if (name.includes(".layers.")) inLayers += sizeBytes;
    else outside += sizeBytes;
  }
  const perLayer = inLayers / numLayers;
  const fitting = (budget: number): number => Math.floor((budget - outside) / perLayer);
  const atMost = Math.min(numLayers, fitting(memoryShare * freeBytes));
  return Math.max(0, Math.min(atMost, Math.max(1, fitting(weightBudget))));
}

/** The same batch over fewer blocks: what a cache of that size cannot hold, sequences share. */
function withinBlocks(batch: RaggedBatch, numBlocks: number, blockSize: number): RaggedBatch {
  const numSlots = numBlocks * blockSize;
  return {
    ...batch,
    slots: batch.slots.map((slot) => slot % numSlots),
    blockTables: batch.blockTables.map((block) => block % numBlocks),
  };
}

function meanOfRow(step: () => number): number {
  const end = performance.now() + 1000 * decodeRow.mostSeconds;
  let seconds = 0;
  let numSteps = 0;
  do {
    seconds += step();
    numSteps += 1;
  } while (numSteps < decodeRow.mostSteps && performance.now() < end);
  return seconds / numSteps;
}
