import { invariant } from "../../base/invariant.ts";
import type { MoeRouting, WeightedRows } from "../ops.ts";
import type { RowRange } from "./reference-linear.ts";
import type { ReferenceTensor } from "./tensor-arena.ts";

/** `Ops.moeRoute`, sums in f64. */
export function routeTokens(logits: ReferenceTensor, routing: MoeRouting): void {
  const { topK, normalize, starts, rows, weights } = routing;
  const numExperts = logits.cols;
  invariant(topK >= 1 && topK <= numExperts, "a token goes to more experts than there are");
  const places: { readonly expert: number; readonly token: number; readonly weight: number }[] = [];
  for (let token = 0; token < logits.rows; token += 1) {
    const row = logits.values.subarray(token * numExperts, (token + 1) * numExperts);
    const order = Array.from(row.keys()).toSorted((a, b) => row[b]! - row[a]! || a - b);
    const chosen = order.slice(0, topK);
    const share = (expert: number): number => Math.exp(row[expert]! - row[chosen[0]!]!);
    const total = (normalize ? chosen : order).reduce((sum, expert) => sum + share(expert), 0);
    for (const expert of chosen) places.push({ expert, token, weight: share(expert) / total });
  }
  places.sort((a, b) => a.expert - b.expert || a.token - b.token);
  starts.fill(0, 0, numExperts + 1);
  for (const [place, { expert, token, weight }] of places.entries()) {
    starts[expert + 1]! += 1;
    rows[place] = token;
    weights[place] = weight;
  }
  for (let expert = 0; expert < numExperts; expert += 1) starts[expert + 1]! += starts[expert]!;
}

/** `Ops.addRows`: one rounding for each sum, as a fused multiply-add. */
export function addWeightedRows(
  x: ReferenceTensor,
  y: ReferenceTensor,
  { rows, weights }: WeightedRows,
  { first, count }: RowRange,
): void {
  invariant(x.cols === y.cols && y.rows >= count, "tensors that are added have the same width");
  for (let i = 0; i < count; i += 1) {
    const row = rows[first + i]!;
    invariant(row >= 0 && row < x.rows, `row ${row} of ${x.rows} does not exist`);
    for (let c = 0; c < x.cols; c += 1) {
      x.values[row * x.cols + c]! += weights[first + i]! * y.values[i * x.cols + c]!;
    }
  }
}
