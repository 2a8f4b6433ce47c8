import { MillraceError } from "../base/errors.ts";
import type { Solver } from "../kernels/solver.ts";

/** Throws `model_not_finite` with the number of values that are NaN or infinite, and the first of them. */
export function checkFinite(name: string, values: Float32Array, solver: Solver): void {
  if (solver.areFinite(values)) return;
  let count = 0;
  let first = 0;
  for (let i = values.length - 1; i >= 0; i -= 1) {
    if (Math.abs(values[i]!) < Infinity) continue;
    count += 1;
    first = i;
  }
  throw new MillraceError(
    "model_not_finite",
    `${name} holds ${count} of ${values.length} values that are NaN or infinite (the first is ${values[first]}, element ${first}). Weights must be finite numbers. Fetch or convert the model again; weights that only overflow float16 take --dtype bfloat16.`,
  );
}
