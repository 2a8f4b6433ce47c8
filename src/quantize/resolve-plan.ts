import { MillraceError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { listParameters } from "../model/list-parameters.ts";
import { resolveCompressedPlan } from "./compressed-plan.ts";
import { isGgufScheme, resolveGgufPlan } from "./gguf/gguf-plan.ts";
import { listModelParts, type ModelParts } from "./model-parts.ts";
import type { QuantizePlan, ResolvedPlan } from "./plan.ts";
import type { LinearShape } from "./scheme.ts";

/**
 * Checks shapes, groups and source format. Throws `invalid_scheme`, `invalid_option`, `already_quantized`,
 * `unsupported_format`, `tensor_missing`.
 */
export function resolvePlan(checkpoint: Checkpoint, plan: QuantizePlan): ResolvedPlan {
  const parts = listModelParts(checkpoint);
  refuseIntegers(checkpoint, plan, parts.linears);
  refuseGaps(checkpoint, parts);
  const { scheme } = plan;
  return isGgufScheme(scheme)
    ? resolveGgufPlan(checkpoint, { ...plan, scheme }, parts)
    : resolveCompressedPlan(checkpoint, plan, parts);
}

/** Before hours go into a model that no reader takes. */
function refuseGaps({ config, path }: Checkpoint, { linears, dense, vectors }: ModelParts): void {
  const held = new Set([
    ...[...linears, ...dense].map(({ module }) => `${module}.weight`),
    ...vectors.map(({ name }) => name),
  ]);
  const isTiedHead = (name: string): boolean => config.tieWordEmbeddings && name === "lm_head.weight";
  const missing = listParameters(config, path).find(({ name }) => !held.has(name) && !isTiedHead(name));
  if (missing === undefined) return;
  throw new MillraceError(
    "tensor_missing",
    `${path} holds no tensor ${missing.name}, which a ${config.architecture} of ${config.numLayers} layers has. Fetch the model again.`,
  );
}

function refuseIntegers(checkpoint: Checkpoint, plan: QuantizePlan, linears: readonly LinearShape[]): void {
  if (linears.length === 0) {
    throw new MillraceError(
      "invalid_scheme",
      `${checkpoint.path} has no linears to quantise. Give a language model with decoder layers.`,
    );
  }
  // Any of them may: an earlier run may have left some dense.
  const integer = linears.find(({ module }) => checkpoint.form(module).kind === "integer");
  if (plan.dtype !== "auto" || integer === undefined) return;
  throw new MillraceError(
    "already_quantized",
    `${checkpoint.path} holds integer weights (${checkpoint.weightFormat}), ${integer.module} among them. Quantising needs float weights. Start from the float model, or give --dtype bfloat16 to dequantise first.`,
    { param: "--dtype" },
  );
}
