import type { WeightForm } from "../../base/weights.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { KvDtype, LinearWeight, Ops, RaggedBatch } from "../../kernels/ops.ts";
import type { PrecisionOptions } from "../../model/causal-model.ts";
import { loadModel } from "../../model/load-model.ts";
import { planModel } from "../../model/plan-model.ts";
import { kvBlockBytes } from "../kv-plan.ts";
import { runStep, type StepSeconds, writePages } from "../profile/run-step.ts";
import { batchOf, blockSize, type StepShape } from "../profile/step-batch.ts";
import { DummyWeights } from "./dummy-weights.ts";

/** A model in the forms that it would have. */
export interface TimedModel {
  readonly recast: (form: WeightForm, name: string) => WeightForm;
  readonly activations: PrecisionOptions["activations"];
  readonly kvDtype: KvDtype;
  /** Steps are run for so long, each shape at least once after a first step that does not count. */
  readonly leastSeconds: number;
}

/** Foresees how long steps take, before a weight is read. */
export interface StepTimer {
  /** [shapes.length] seconds of a step, or null where they cannot be foreseen. */
  time(model: TimedModel, shapes: readonly StepShape[]): readonly number[] | null;
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

export interface StepTimerParts {
  readonly checkpoint: Checkpoint;
  /** Kernels as the engine would have them; closed after each model. */
  readonly createOps: () => Ops;
  readonly freeBytes: number;
}

/**
 * Times real steps over dummy weights, with as many layers as 512 MiB hold: a larger model's layers are taken to be like
 * its first ones. What comes out are medians of what the machine gives at the moment.
 */
export class DummyStepTimer implements StepTimer {
  readonly #parts: StepTimerParts;

  constructor(parts: StepTimerParts) {
    this.#parts = parts;
  }

  /** Null where even one layer takes too much of the free memory. */
  time(timed: TimedModel, shapes: readonly StepShape[]): number[] | null {
    const { recast, activations, kvDtype, leastSeconds } = timed;
    const { checkpoint, createOps, freeBytes } = this.#parts;
    const precision = { dtype: "auto", activations } as const;
    const { linears } = planModel(checkpoint, { ...precision, recast });
    const all = checkpoint.config.numLayers;
    const numLayers = layersWithin(linears, all, freeBytes);
    if (numLayers === 0) return null;
    const ops = createOps();
    try {
      const weights = new DummyWeights(checkpoint, { numLayers, recast });
      const maxModelLen = Math.max(...shapes.map(({ contextLength }) => contextLength));
      const { model } = loadModel(ops, weights, { ...precision, maxModelLen });
      const blockBytes = kvBlockBytes(model.kvShape, kvDtype, blockSize);
      const wanted = Math.max(...shapes.map(blocksOf));
      const numBlocks = Math.max(1, Math.min(wanted, Math.floor(kvBudget / blockBytes)));
      const cache = ops.createKvCache({ ...model.kvShape, numBlocks, blockSize, dtype: kvDtype });
      writePages(ops, model, cache);
      const batches = new Map(
        shapes.map((shape) => [shape, withinBlocks(batchOf(shape, model.vocabSize), numBlocks)]),
      );
      const run = (shape: StepShape): StepSeconds => runStep(ops, model, cache, batches.get(shape)!);
      const steps = timeInRounds(shapes, leastSeconds, run);
      return steps.map(({ layers, head }) => (layers * all) / numLayers + head);
    } finally {
      ops.close();
    }
  }
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

function blocksOf({ numSequences, contextLength }: StepShape): number {
  return numSequences * Math.ceil(contextLength / blockSize);
}

/** The same batch over fewer blocks: what a cache of that size cannot hold, sequences share. */
function withinBlocks(batch: RaggedBatch, numBlocks: number): RaggedBatch {
  const numSlots = numBlocks * blockSize;
  return {
    ...batch,
    slots: batch.slots.map((slot) => slot % numSlots),
    blockTables: batch.blockTables.map((block) => block % numBlocks),
  };
}

/** The median step of each shape. Shapes take turns: what slows the machine for a while slows no shape in every turn. */
function timeInRounds(
  shapes: readonly StepShape[],
  leastSeconds: number,
  run: (shape: StepShape) => StepSeconds,
): readonly StepSeconds[] {
  const samples = shapes.map((shape) => ({ shape, steps: [] as StepSeconds[] }));
  for (const shape of shapes) run(shape);
  const end = performance.now() + 1000 * leastSeconds;
  for (let round = 0; round === 0 || performance.now() < end; round += 1) {
    for (const { shape, steps } of samples) {
      steps.push(shape.numTokens === 1 ? meanOfRow(() => run(shape)) : run(shape));
    }
  }
  return samples.map(({ steps }) => {
    const total = ({ layers, head }: StepSeconds): number => layers + head;
    return steps.toSorted((a, b) => total(a) - total(b))[steps.length >> 1]!;
  });
}

function meanOfRow(run: () => StepSeconds): StepSeconds {
  const end = performance.now() + 1000 * decodeRow.mostSeconds;
  let layers = 0;
  let head = 0;
  let numSteps = 0;
  do {
    const step = run();
    layers += step.layers;
    head += step.head;
    numSteps += 1;
  } while (numSteps < decodeRow.mostSteps && performance.now() < end);
  return { layers: layers / numSteps, head: head / numSteps };
}
