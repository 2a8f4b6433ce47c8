import { MillraceError } from "../base/errors.ts";
import type { FloatDtype } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { TensorSpec } from "../formats/safetensors-writer.ts";
import { listModelParts, type ModelParts } from "./model-parts.ts";
import { packedWords } from "./packed-codes.ts";
import { chooseGroupSize, parseScheme, type Scheme, type SchemeName } from "./scheme.ts";

/** What the caller asks for. */
export interface QuantizePlan {
  readonly scheme: SchemeName;
  /** 128, 64 or 32; null for the largest that fits. */
  readonly groupSize: number | null;
  /**
   * "auto" takes float weights as stored and refuses integer checkpoints; the others dequantise what is integer and
   * round all weights to that type first.
   */
  readonly dtype: "auto" | "float32" | "bfloat16" | "float16";
  /** Folder to make. */
  readonly outPath: string;
  /** Whether what the folder holds gives way once the new result is whole; without, a folder in use is refused. */
  readonly replaceEarlier?: boolean;
}

/** A plan checked against a model: everything that can be known before the first weight is read. */
export interface ResolvedPlan {
  readonly scheme: Scheme;
  readonly groupSize: number | null;
  /** Type that weights are rounded to first, or null. */
  readonly roundTo: FloatDtype | null;
  readonly parts: ModelParts;
  readonly tensors: readonly TensorSpec[];
  /** What the user should know: choices made for them. */
  readonly notes: readonly string[];
}

const floatTypes = { float32: "f32", bfloat16: "bf16", float16: "f16" } as const;

/** Checks shapes, groups and source format. Throws `invalid_scheme`, `already_quantized`, `unsupported_format`. */
export function resolvePlan(checkpoint: Checkpoint, plan: QuantizePlan): ResolvedPlan {
  const scheme = parseScheme(plan.scheme);
  const parts = listModelParts(checkpoint);
  refuseIntegers(checkpoint, plan, parts);
  const groupSize = chooseGroupSize(scheme, plan.groupSize, parts.linears);
  const notes: string[] = [];
  if (groupSize !== null && plan.groupSize === null) {
    notes.push(
      `Group size ${groupSize}: the largest of 128, 64 and 32 that divides the input width of every linear.`,
    );
  }
  if (plan.dtype !== "auto") notes.push(`Weights were rounded to ${plan.dtype} before they were quantised.`);
  if (scheme.weightBits < 4) {
    notes.push(
      `${scheme.weightBits}-bit weights are read here and by compressed-tensors itself; most GPU servers take 4 and 8 bits only.`,
    );
  }
  return {
    scheme,
    groupSize,
    roundTo: plan.dtype === "auto" ? null : floatTypes[plan.dtype],
    parts,
    tensors: tensorSpecs(parts, scheme, groupSize),
    notes,
  };
}

function refuseIntegers(checkpoint: Checkpoint, plan: QuantizePlan, parts: ModelParts): void {
  const first = parts.linears[0];
  if (first === undefined) {
    throw new MillraceError(
      "invalid_scheme",
      `${checkpoint.path} has no linears to quantise. Give a language model with decoder layers.`,
    );
  }
  if (plan.dtype !== "auto" || checkpoint.linear(first.module).kind === "dense") return;
  throw new MillraceError(
    "already_quantized",
    `${checkpoint.path} holds integer weights (${checkpoint.weightFormat}). Quantising needs float weights. Start from the float model, or give --dtype bfloat16 to dequantise first.`,
    { param: "--dtype" },
  );
}

function tensorSpecs(parts: ModelParts, scheme: Scheme, groupSize: number | null): TensorSpec[] {
  const linears = parts.linears.flatMap(({ module, rows, cols }): TensorSpec[] => {
    const scale: TensorSpec = {
      name: `${module}.weight_scale`,
      dtype: "BF16",
      shape: [rows, cols / (groupSize ?? cols)],
    };
    if (scheme.format === "int-quantized")
      return [{ name: `${module}.weight`, dtype: "I8", shape: [rows, cols] }, scale];
    return [
      { name: `${module}.weight_packed`, dtype: "I32", shape: [rows, packedWords(cols, scheme.weightBits)] },
      { name: `${module}.weight_shape`, dtype: "I64", shape: [2] },
      scale,
    ];
  });
  return [
    ...linears,
    ...parts.dense.map(
      ({ module, rows, cols }): TensorSpec => ({
        name: `${module}.weight`,
        dtype: "BF16",
        shape: [rows, cols],
      }),
    ),
    ...parts.vectors.map(({ name, length }): TensorSpec => ({ name, dtype: "BF16", shape: [length] })),
  ];
}
