import type { IntegerWeight, OrderedWeight, Weight } from "../base/weights.ts";

/** Rows [first, first + count) as a view where the file's own rows are in order: nothing is copied. */
export function sliceRows(weight: IntegerWeight, first: number, count: number): IntegerWeight;
export function sliceRows(weight: OrderedWeight, first: number, count: number): OrderedWeight;
export function sliceRows(weight: Weight, first: number, count: number): Weight;
export function sliceRows(weight: Weight, first: number, count: number): Weight {
  if (first === 0 && count === weight.rows) return weight;
  const take = <A extends { subarray(from: number, to: number): A; readonly length: number }>(all: A): A => {
    const perRow = all.length / weight.rows;
    return all.subarray(first * perRow, (first + count) * perRow);
  };
  if (weight.kind === "dense") return { ...weight, rows: count, data: take(weight.data) };
  if (weight.kind === "reordered") {
    return { ...weight, rows: count, matrix: sliceRows(weight.matrix, first, count) };
  }
  const { kind, cols, bits, groupSize, codes, scales, minimums, activations } = weight;
  return {
    kind,
    rows: count,
    cols,
    bits,
    groupSize,
    codes: take(codes),
    scales: take(scales),
    minimums: minimums === null ? null : take(minimums),
    activations,
  };
}
