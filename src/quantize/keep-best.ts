import { bf16ToF32 } from "../base/half.ts";
import type { Quantized } from "../kernels/grid.ts";
import type { Solver } from "../kernels/solver.ts";
import type { InputStatistics } from "./calibration/collect-statistics.ts";

/** The rows that did best, and how many each candidate gave. */
export interface BestRows {
  readonly quantized: Quantized;
  readonly counts: readonly number[];
  /** Sum over the rows of the squared error of their outputs on what was held out. */
  readonly outputError: number;
  /** The same sum of the outputs themselves. */
  readonly outputSum: number;
}

/**
 * Takes each row from the candidate whose output is nearest to that of the float weights on the held-out input; earlier
 * candidates win ties. A row of a linear is an output of its own, so the choice of one changes no other.
 */
export function keepBestRows(
  values: Float32Array,
  candidates: readonly Quantized[],
  { heldOutGram, cols }: InputStatistics,
  solver: Solver,
): BestRows {
  const rows = values.length / cols;
  const forms = candidates.map((candidate) =>
    solver.quadraticForms(differences(values, candidate), heldOutGram, cols),
  );
  const first = candidates[0]!;
  const codes = first.codes.slice();
  const scales = first.scales.slice();
  const zeros = first.zeros?.slice() ?? null;
  const counts = candidates.map(() => 0);
  const perRow = scales.length / rows;
  let outputError = 0;
  for (let row = 0; row < rows; row += 1) {
    let best = 0;
    for (let i = 1; i < forms.length; i += 1) if (forms[i]![row]! < forms[best]![row]!) best = i;
    counts[best] = counts[best]! + 1;
    outputError += forms[best]![row]!;
    if (best === 0) continue;
    const chosen = candidates[best]!;
    codes.set(chosen.codes.subarray(row * cols, (row + 1) * cols), row * cols);
    scales.set(chosen.scales.subarray(row * perRow, (row + 1) * perRow), row * perRow);
    if (zeros !== null) zeros.set(chosen.zeros!.subarray(row * perRow, (row + 1) * perRow), row * perRow);
  }
  const outputSum = solver.quadraticForms(values, heldOutGram, cols).reduce((sum, value) => sum + value, 0);
  return { quantized: { codes, scales, zeros }, counts, outputError, outputSum };
}

function differences(values: Float32Array, { codes, scales, zeros }: Quantized): Float32Array {
  const out = new Float32Array(values.length);
  const groupSize = values.length / scales.length;
  for (let group = 0, i = 0; group < scales.length; group += 1) {
    const scale = bf16ToF32(scales[group]!);
    const zero = zeros === null ? 0 : zeros[group]!;
    for (const end = i + groupSize; i < end; i += 1) out[i] = values[i]! - (codes[i]! - zero) * scale;
  }
  return out;
}
