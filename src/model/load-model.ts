import { MillraceError } from "../base/errors.ts";
import type { ModelWeights } from "../formats/checkpoint.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { Ops } from "../kernels/ops.ts";
import type { CausalModel, PrecisionOptions } from "./causal-model.ts";
import type { EncoderModel } from "./encoder-model.ts";
import { rotaryDimOf } from "./layers/rope.ts";
import { type AdaptableLinears, adaptableOf } from "./pack-adapter.ts";
import { findBuilder, findEncoderBuilder } from "./registry.ts";
import { CheckpointLoader } from "./weight-loader.ts";

export interface LoadOptions extends PrecisionOptions {
  /** Positions that the rotation tables cover, in tokens; at most the model's own maximum. */
  readonly maxModelLen: number;
}

export interface LoadedModel extends LoadedForms {
  readonly model: CausalModel;
  readonly adaptable: AdaptableLinears;
}

export interface LoadedEncoder extends LoadedForms {
  readonly model: EncoderModel;
}

interface LoadedForms {
  /** What a person should know of the choices made: one line each. */
  readonly notes: string[];
  /** Forms in which linears take their input, such as "bf16" or "int8-block32 + f32". */
  readonly activations: string;
  /** Forms of the packed weights, such as "bf16" or "int4 g32 + min, int8 g32". */
  readonly dtype: string;
}

/**
 * Builds the model of a checkpoint on a backend: picks the definition, checks the configuration and every shape,
 * packs the weights. Source files may be closed afterwards.
 *
 * Throws `unsupported_architecture`, `unsupported_format`, `invalid_model_file`, `tensor_missing`, `invalid_option`.
 */
export function loadModel(ops: Ops, checkpoint: ModelWeights, options: LoadOptions): LoadedModel {
  const { config } = checkpoint;
  const build = findBuilder(config.architecture, checkpoint.path);
  checkConfig(config);
  checkLength(options.maxModelLen, config.maxPositionEmbeddings);
  const loader = new CheckpointLoader(ops, checkpoint, options);
  const model = build(loader, config, options.maxModelLen);
  return { model, adaptable: adaptableOf(loader.linears), ...formsOf(loader) };
}

/** As `loadModel`, for an encoder. */
export function loadEncoder(ops: Ops, checkpoint: ModelWeights, options: PrecisionOptions): LoadedEncoder {
  const { config } = checkpoint;
  const build = findEncoderBuilder(config.architecture, checkpoint.path);
  const loader = new CheckpointLoader(ops, checkpoint, options);
  return { model: build(loader, config), ...formsOf(loader) };
}

function formsOf(loader: CheckpointLoader): LoadedForms {
  return {
    notes: loader.forms.notes(),
    activations: loader.forms.describe(),
    dtype: [...loader.weightForms].join(", "),
  };
}

/** What the shared layers take for granted; shapes are checked where each weight is read. */
export function checkConfig(config: ModelConfig): void {
  const { hiddenSize, intermediateSize, numLayers, numHeads, numKvHeads, headDim, vocabSize } = config;
  const sizes = { hiddenSize, intermediateSize, numLayers, numHeads, numKvHeads, headDim, vocabSize };
  for (const [name, value] of Object.entries(sizes)) {
    if (!Number.isInteger(value) || value < 1)
      throw badConfig(`${name} = ${value}`, "a whole number above 0");
  }
  if (numHeads % numKvHeads !== 0) {
    throw badConfig(`${numHeads} heads and ${numKvHeads} KV heads`, "KV heads that divide the heads");
  }
  const rotaryDim = rotaryDimOf(config);
  if (rotaryDim % 2 !== 0 || rotaryDim === 0) {
    throw badConfig(
      `headDim = ${headDim} of which ${rotaryDim} are rotated`,
      "an even number of rotated columns, as RoPE turns pairs",
    );
  }
  if (!(config.rmsNormEps > 0)) throw badConfig(`rmsNormEps = ${config.rmsNormEps}`, "a number above 0");
}

function badConfig(seen: string, allowed: string): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `The model's configuration has ${seen}; it takes ${allowed}. Correct its config.json or fetch the model again.`,
  );
}

function checkLength(maxModelLen: number, limit: number): void {
  if (Number.isInteger(maxModelLen) && maxModelLen >= 1 && maxModelLen <= limit) return;
  throw new MillraceError(
    "invalid_option",
    `--max-model-len is ${maxModelLen}; this model takes 1 to ${limit} positions. Give a length in that range.`,
    { param: "--max-model-len" },
  );
}
