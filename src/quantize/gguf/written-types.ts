import type { FloatDtype } from "../../base/weights.ts";
import type { BlockType } from "../../kernels/block-types.ts";

/** ggml types that a matrix is written in. */
export type WrittenType = "F32" | "F16" | "BF16" | BlockType;

/** The ggml type of each float type. */
export const floatTypes: Readonly<Record<FloatDtype, WrittenType>> = { f32: "F32", f16: "F16", bf16: "BF16" };

/** The float type of a ggml type that is one. */
export const floatDtypes: Readonly<Partial<Record<string, FloatDtype>>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};
