import { MillraceError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { resolveCompressedPlan } from "./compressed-plan.ts";
import { isGgufScheme, resolveGgufPlan } from "./gguf/gguf-plan.ts";
import { listModelParts } from "./model-parts.ts";
import type { QuantizePlan, ResolvedPlan } from "./plan.ts";
import type { LinearShape } from "./scheme.ts";

/**
 * Checks shapes, groups and source format. Throws `invalid_scheme`, `invalid_option`, `already_quantized`,
 * `unsupported_format`.
 */
export function resolvePlan(checkpoint: Checkpoint, plan: QuantizePlan): ResolvedPlan {
  const parts = listModelParts(checkpoint);
  refuseIntegers(checkpoint, plan, parts.linears);
  const { scheme } = plan;
  return isGgufScheme(scheme)
    ? resolveGgufPlan(checkpoint, { ...plan, scheme }, parts)
    : resolveCompressedPlan(checkpoint, plan, parts);
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
