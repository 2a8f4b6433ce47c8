import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { KvDtype } from "../../kernels/ops.ts";
import type { OperationWork } from "../../kernels/profiled-ops.ts";
import type { SamplingBatch, SamplingOutput } from "../../kernels/sampling.ts";
import { type PlanModelOptions, type PlannedModel, planModel } from "../../model/plan-model.ts";
import { batchOf, rowsThatDraw, type StepShape } from "../profile/step-batch.ts";

/** A planned model that tells what the operations of a step have to do. */
export interface StepPlanner extends PlannedModel {
  /** The operations of one step in order, from tokens to drawn tokens. */
  workOf(shape: StepShape): readonly OperationWork[];
}

/** Plans a model and its steps, from headers alone. Throws what `planModel` throws. */
export function createStepPlanner(
  checkpoint: Checkpoint,
  options: Omit<PlanModelOptions, "onOperation">,
  kvDtype: KvDtype,
): StepPlanner {
  let operations: OperationWork[] = [];
  const planned = planModel(checkpoint, { ...options, onOperation: (work) => operations.push(work) });
  const { model, stepOps } = planned;
  const cache = stepOps.createKvCache({ ...model.kvShape, numBlocks: 1, blockSize: 1, dtype: kvDtype });
  const workOf = (shape: StepShape): OperationWork[] => {
    operations = [];
    const batch = batchOf(shape, model.vocabSize);
    stepOps.beginStep(batch);
    const hidden = model.forward(cache);
    const logits = model.logits(model.finalNorm(hidden, rowsThatDraw(batch), batch.numSeqs));
    stepOps.sample(logits, {} as SamplingBatch, {} as SamplingOutput);
    stepOps.endStep();
    return operations;
  };
  return { ...planned, workOf };
}
