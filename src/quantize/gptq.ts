import { bf16ToF32 } from "../base/half.ts";
import type { Grid, Quantized } from "../kernels/grid.ts";
import type { Solver } from "../kernels/solver.ts";
import type { InputStatistics } from "./calibration/collect-statistics.ts";

/** Share of the mean of the diagonal that is added to it, and what it becomes where the matrix has no factor yet. */
const dampings = [0.01, 0.1, 1] as const;

/** What rounding with errors passed on needs of an input: prepared once for all linears that share it. */
export interface GptqFactors {
  /** Rounding order: columns by falling energy (static act order: groups stay those of the file). */
  readonly order: Int32Array;
  /** [K, K] in that order, upper U of (H + damping)⁻¹ = UᵀU. */
  readonly upper: Float32Array;
  /** [K] mean x² of each column, above 0, for the search of scales. */
  readonly importance: Float32Array;
  /** The share of the mean diagonal that was added. */
  readonly damping: number;
}

/** Null where no damping makes the matrix positive definite. */
export function factorInput({ gram, cols: n }: InputStatistics, solver: Solver): GptqFactors | null {
  const diagonal = Float64Array.from({ length: n }, (_, i) => gram[i * n + i]!);
  const mean = diagonal.reduce((sum, value) => sum + value, 0) / n;
  if (!(mean > 0)) return null;
  const order = Int32Array.from(diagonal.keys()).sort((a, b) => diagonal[b]! - diagonal[a]! || a - b);
  for (const damping of dampings) {
    // The factor of the inverse comes from the matrix in reverse order, which needs one factorisation and no second one.
    const reversed = new Float32Array(n * n);
    for (let i = 0; i < n; i += 1) {
      const from = order[n - 1 - i]! * n;
      for (let j = i; j < n; j += 1) reversed[i * n + j] = gram[from + order[n - 1 - j]!]!;
      // A column that nothing goes into has no energy of its own: any rounding of it is right.
      const own = diagonal[order[n - 1 - i]!]!;
      reversed[i * n + i] = (own === 0 ? mean : own) + damping * mean;
    }
    const inverse = new Float32Array(n * n);
    if (!solver.factorize(reversed, n, inverse)) continue;
    const upper = new Float32Array(n * n);
    for (let i = 0; i < n; i += 1)
      for (let j = i; j < n; j += 1) upper[i * n + j] = inverse[(n - 1 - j) * n + (n - 1 - i)]!;
    const importance = Float32Array.from(diagonal, (value) => Math.max(value / mean, 1e-6));
    return { order, upper, importance, damping };
  }
  return null;
}

/**
 * GPTQ (Frantar et al. 2022) with static groups: scales are given, as found in the original weights; columns are rounded
 * one after the other, and the error of each is passed on to those behind it, so that the output changes least.
 */
export function quantizeWithErrorFeedback(
  values: Float32Array,
  { grid, scales, zeros }: Pick<Quantized, "scales" | "zeros"> & { readonly grid: Grid },
  { order, upper }: GptqFactors,
  solver: Solver,
): Quantized {
  const cols = order.length;
  const rows = values.length / cols;
  const sorted = new Float32Array(values.length);
  for (let row = 0; row < rows; row += 1)
    for (let i = 0; i < cols; i += 1) sorted[row * cols + i] = values[row * cols + order[i]!]!;
  const sortedCodes = new Int8Array(values.length);
  solver.roundRows({
    rows,
    cols,
    values: sorted,
    codes: sortedCodes,
    bits: grid.bits,
    scales: Float32Array.from(scales, bf16ToF32),
    zeros: zeros === null ? null : Float32Array.from(zeros),
    groups: order.map((column) => Math.floor(column / grid.groupSize)),
    upper,
  });
  const codes = new Int8Array(values.length);
  for (let row = 0; row < rows; row += 1)
    for (let i = 0; i < cols; i += 1) codes[row * cols + order[i]!] = sortedCodes[row * cols + i]!;
  return { codes, scales, zeros };
}
