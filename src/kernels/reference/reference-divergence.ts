import { invariant } from "../../base/invariant.ts";
import type { RowDivergences } from "../../base/row-divergences.ts";

/** `Ops.diverge` of logits B [targets.length, vocabulary]. */
export function divergeRows(
  logitsB: Float32Array,
  logitsA: Float32Array,
  targets: Int32Array,
  out: RowDivergences,
): void {
  const vocab = logitsB.length / targets.length;
  for (const [row, target] of targets.entries()) {
    invariant(target >= 0 && target < vocab, "a target is outside the vocabulary");
    const a = logitsA.subarray(row * vocab, (row + 1) * vocab);
    const b = logitsB.subarray(row * vocab, (row + 1) * vocab);
    const [topA, topB] = [indexOfHighest(a), indexOfHighest(b)];
    const { sumA, sumB, weighted } = sumsOf(a, b, a[topA]!, b[topB]!);
    const logA = a[topA]! + Math.log(sumA);
    const logB = b[topB]! + Math.log(sumB);
    out.kl[row] = weighted / sumA - (logA - logB);
    out.isSameTop[row] = topA === topB ? 1 : 0;
    out.lossA[row] = logA - a[target]!;
    out.lossB[row] = logB - b[target]!;
  }
}

/** Σ exp(a − highest a), the same of b, and Σ exp(a − highest a)·(a − b). */
function sumsOf(
  a: Float32Array,
  b: Float32Array,
  highestA: number,
  highestB: number,
): { readonly sumA: number; readonly sumB: number; readonly weighted: number } {
  let [sumA, sumB, weighted] = [0, 0, 0];
  for (let i = 0; i < a.length; i += 1) {
    const weight = Math.exp(a[i]! - highestA);
    sumA += weight;
    sumB += Math.exp(b[i]! - highestB);
    // A token that A rules out adds nothing, whatever B says of it.
    if (weight > 0) weighted += weight * (a[i]! - b[i]!);
  }
  return { sumA, sumB, weighted };
}

function indexOfHighest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}
