import { invariant } from "../base/invariant.ts";
import type { Solver } from "../kernels/solver.ts";
import type { InputStatistics } from "./calibration/collect-statistics.ts";

/** Share of the mean of the diagonal that is added to it, and what it becomes where the matrix has no factor yet. */
const dampings = [0.01, 0.1, 1] as const;

/**
 * What GPTQ (Frantar et al. 2022) needs of an input, prepared once for all linears that share it. Columns are rounded one
 * after the other, and the error of each is passed on to those behind it, so that the output changes least. Groups are
 * static: scales are given, as found in the original weights.
 */
export interface GptqFactors {
  /** Rounding order: columns by falling energy (static act order: groups stay those of the file). */
  readonly order: Int32Array;
  /** [K, K] in that order, upper U of (H + damping)⁻¹ = UᵀU. */
  readonly upper: Float32Array;
  /** The share of the mean diagonal that was added. */
  readonly damping: number;
}

/** Null where no damping makes the matrix positive definite. */
export function factorInput({ gram, energy, cols: n }: InputStatistics, solver: Solver): GptqFactors | null {
  invariant(gram !== null, "errors are passed on by a Gram matrix");
  const mean = energy.reduce((sum, value) => sum + value, 0) / n;
  if (!(mean > 0)) return null;
  const order = Int32Array.from(energy.keys()).sort((a, b) => energy[b]! - energy[a]! || a - b);
  for (const damping of dampings) {
    // The factor of the inverse comes from the matrix in reverse order, which needs one factorisation and no second one.
    const reversed = new Float32Array(n * n);
    for (let i = 0; i < n; i += 1) {
      const from = order[n - 1 - i]! * n;
      for (let j = i; j < n; j += 1) reversed[i * n + j] = gram[from + order[n - 1 - j]!]!;
      // A column that nothing goes into has no energy of its own: any rounding of it is right.
      const own = energy[order[n - 1 - i]!]!;
      reversed[i * n + i] = (own === 0 ? mean : own) + damping * mean;
    }
    const inverse = new Float32Array(n * n);
    if (!solver.factorize(reversed, n, inverse)) continue;
    const upper = new Float32Array(n * n);
    for (let i = 0; i < n; i += 1)
      for (let j = i; j < n; j += 1) upper[i * n + j] = inverse[(n - 1 - j) * n + (n - 1 - i)]!;
    return { order, upper, damping };
  }
  return null;
}
