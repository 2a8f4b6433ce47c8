import type { Weight } from "../base/weights.ts";
import { dequantize } from "../formats/dequantize.ts";
import type { Solver } from "../kernels/solver.ts";

/** Values of a matrix in f32, a zero without a sign where integers stand for it. */
export function readValues(weight: Weight, solver: Solver): Float32Array {
  const read = weight.kind === "reordered" ? null : solver.readWeight(weight);
  if (read !== null) return read;
  const values = dequantize(weight);
  if (weight.kind !== "dense") for (let i = 0; i < values.length; i += 1) values[i] = values[i]! + 0;
  return values;
}
