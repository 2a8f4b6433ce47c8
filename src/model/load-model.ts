import { MillraceError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { Ops } from "../kernels/ops.ts";
import type { CausalModel, PrecisionOptions } from "./causal-model.ts";
import { Precision } from "./precision.ts";
import { builderOf } from "./registry.ts";
import { WeightLoader } from "./weight-loader.ts";

export interface LoadOptions extends PrecisionOptions {
  /** Longest context to prepare rotation tables for. */
  readonly maxModelLen: number;
  /** Called after each matrix with the number done. */
  readonly onProgress?: (numLinears: number) => void;
}

export interface LoadedModel {
  readonly model: CausalModel;
  /** Lines to show at start. */
  readonly notes: string[];
  readonly activations: string;
  readonly dtype: string;
}

/**
 * Packs a checkpoint's weights for a backend. The checkpoint may be closed afterwards.
 *
 * Errors: `unsupported_architecture`, `tensor_missing`, `invalid_model_file`, `unsupported_format`,
 * `invalid_option` for an activation form that the weights do not take.
 */
export function loadModel(ops: Ops, checkpoint: Checkpoint, options: LoadOptions): LoadedModel {
  const { config } = checkpoint;
  const build = builderOf(config.architecture);
  checkConfig(config, checkpoint.path);
  const precision = new Precision(options);
  let numLinears = 0;
  const loader = new WeightLoader(ops, checkpoint, precision, () => {
    numLinears += 1;
    options.onProgress?.(numLinears);
  });
  const model = build(loader, config, options.maxModelLen);
  return { model, notes: precision.notes, activations: precision.activations, dtype: precision.dtype };
}

function checkConfig(config: ModelConfig, path: string): void {
  const fault = (problem: string): MillraceError =>
    new MillraceError("invalid_model_file", `The configuration of ${path} ${problem}. Fetch the model again.`);
  if (config.numHeads % config.numKvHeads !== 0) {
    throw fault(`has ${config.numHeads} query heads for ${config.numKvHeads} KV heads; the second must divide the first`);
  }
  if (config.headDim % 2 !== 0) throw fault(`has heads of odd width ${config.headDim}`);
  if (config.hiddenAct !== "silu") {
    throw new MillraceError(
      "unsupported_architecture",
      `${path} uses the activation ${config.hiddenAct}; this family is defined with silu. Use another model.`,
    );
  }
}
