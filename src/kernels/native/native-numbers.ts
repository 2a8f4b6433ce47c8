import { invariant } from "../../base/invariant.ts";
import type { FloatDtype, OrderedWeight, WeightBlocks } from "../../base/weights.ts";
import type { NativePart } from "../addon.ts";
import type { GatedActivation, KvDtype, TensorForm } from "../ops.ts";

/** Numbers of `enum class Form` in native/linear/linear.h. */
export const formNumbers: Readonly<Record<TensorForm, number>> = {
  f32: 0,
  bf16: 1,
  "int8-token": 2,
  "int8-block32": 3,
};

/** Numbers of `enum class Gate` in native/linear/linear.h; 0 is none. */
export const gateNumbers: Readonly<Record<GatedActivation, number>> = { "silu-mul": 1, "gelu-mul": 2 };

/** Numbers of `enum class KvDtype` in native/kernels/kernel_table.h. */
export const kvDtypeNumbers: Readonly<Record<KvDtype, number>> = { f32: 0, f16: 1, bf16: 2, int8: 3 };

const floatDtypeNumbers: Readonly<Record<FloatDtype, number>> = { f32: 0, f16: 1, bf16: 2 };

/** Numbers of `enum class BlockType` in native/linear/linear.h, where 0 is none. */
const blockTypeNumbers: Readonly<Record<WeightBlocks["type"], number>> = {
  Q4_0: 1,
  Q4_1: 2,
  Q8_0: 3,
  Q6_K: 4,
  Q5_0: 5,
  Q5_1: 6,
};

/** A weight as the addon reads it; nothing is copied. */
export function toNativePart(weight: OrderedWeight): NativePart {
  const { rows, cols } = weight;
  const own = { rows, cols, bits: 0, groupSize: 0, dtype: 0, blockType: 0, pairedHeadDim: 0 };
  if (weight.kind === "dense") {
    const dtype = floatDtypeNumbers[weight.dtype];
    return { ...own, kind: 0, dtype, data: weight.data, scales: null, minimums: null };
  }
  const { bits, groupSize, blocks } = weight;
  invariant(cols % groupSize === 0, `groups of ${groupSize} do not divide ${cols} columns`);
  if (blocks !== undefined) {
    const { data, pairedHeadDim } = blocks;
    const blockType = blockTypeNumbers[blocks.type];
    return { ...own, kind: 1, bits, groupSize, blockType, pairedHeadDim, data, scales: null, minimums: null };
  }
  const { codes, scales, minimums } = weight;
  return { ...own, kind: 1, bits, groupSize, data: codes, scales, minimums };
}
