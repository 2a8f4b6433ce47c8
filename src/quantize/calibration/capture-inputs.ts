import { invariant } from "../../base/invariant.ts";
import type { LinearEpilogue, LinearWeight, Ops, Tensor } from "../../kernels/ops.ts";
import type { LinearShape } from "../scheme.ts";

/** Hears what goes into a linear: [rows, cols] f32, valid during the call only. */
export type InputListener = (name: string, values: Float32Array, rows: number) => void;

/**
 * An `Ops` that tells `onInput` what each linear gets, under the name that it was packed with, before it runs. The model
 * must run in f32. Nothing else changes.
 */
export function captureInputs(ops: Ops, onInput: InputListener): Ops {
  let buffer = new Float32Array(0);
  const linear = (x: Tensor, weight: LinearWeight, epilogue?: LinearEpilogue): Tensor => {
    invariant(x.form === "f32", "calibration runs in f32");
    const size = x.rows * x.cols;
    if (buffer.length < size) buffer = new Float32Array(size);
    const values = buffer.subarray(0, size);
    ops.read(x, values);
    onInput(weight.name, values, x.rows);
    return ops.linear(x, weight, epilogue);
  };
  return new Proxy(ops, {
    get(target, property) {
      if (property === "linear") return linear;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

/** The name under which the input of a module's linear is captured: linears that run as one share it. */
export function inputNameOf(module: string): string {
  return module
    .replace(/\.(q|k|v)_proj$/, ".qkv_proj")
    .replace(/\.(gate_proj|up_proj|w1|w3)$/, ".gate_up_proj");
}

/** Linears by `inputNameOf` what goes into them, in the order in which each input comes first. */
export function groupByInput<T extends LinearShape>(
  linears: readonly T[],
): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const linear of linears) {
    const input = inputNameOf(linear.module);
    groups.set(input, [...(groups.get(input) ?? []), linear]);
  }
  return groups;
}
