import { expandFloats, expandIntegers, type ReferenceWeight } from "./reference-weight.ts";
import { columnsPerScale, type ReferenceTensor } from "./tensor-arena.ts";

/** Rows of an input that a product covers. */
export interface RowRange {
  readonly first: number;
  readonly count: number;
}

/**
 * out[r, n] = x[first + r] · w[n], f32 [count, N], rows of `w` in the order of its parts.
 *
 * Float inputs: sum in f64 over four interleaved partial sums, rounded once. Integer inputs: for each run of columns
 * that share one weight scale and one activation scale, in order of K, acc = fround(acc + fround(fround(xScale ·
 * wScale) · dot)) with the exact integer dot product, then, with minimums, acc = fround(acc + fround(fround(xScale ·
 * minimum) · Σ xCode)).
 */
export function multiply(
  x: ReferenceTensor,
  range: RowRange,
  weight: ReferenceWeight,
  out: Float32Array,
): void {
  if (x.codes.length > 0) multiplyIntegers(x, range, weight, out);
  else multiplyFloats(x, range, weight, out);
}

function multiplyFloats(
  x: ReferenceTensor,
  { first, count }: RowRange,
  weight: ReferenceWeight,
  out: Float32Array,
): void {
  const { rows, cols } = weight;
  // Doubles once for all rows: converting inside the dot product would take most of its time.
  const input = Float64Array.from(x.values.subarray(first * cols, (first + count) * cols));
  const row = new Float64Array(cols);
  for (let n = 0; n < rows; n += 1) {
    expandFloats(weight, n, row);
    for (let r = 0; r < count; r += 1) out[r * rows + n] = dot(input, r * cols, row, 0, cols);
  }
}

/** Columns [starts[i], starts[i + 1]) share one weight scale and one activation scale. */
interface Segments {
  readonly starts: readonly number[];
  readonly weightGroups: readonly number[];
  readonly activationGroups: readonly number[];
}

function splitColumns(cols: number, weightWidth: number, activationWidth: number): Segments {
  const starts: number[] = [];
  const weightGroups: number[] = [];
  const activationGroups: number[] = [];
  for (let column = 0; column < cols; ) {
    const weightGroup = Math.floor(column / weightWidth);
    const activationGroup = Math.floor(column / activationWidth);
    starts.push(column);
    weightGroups.push(weightGroup);
    activationGroups.push(activationGroup);
    column = Math.min((weightGroup + 1) * weightWidth, (activationGroup + 1) * activationWidth);
  }
  starts.push(cols);
  return { starts, weightGroups, activationGroups };
}

function multiplyIntegers(
  x: ReferenceTensor,
  { first, count }: RowRange,
  weight: ReferenceWeight,
  out: Float32Array,
): void {
  const { rows, cols } = weight;
  const width = columnsPerScale(x.form, cols);
  const segments = splitColumns(cols, weight.groupSize, width);
  const codes = Float64Array.from(x.codes.subarray(first * cols, (first + count) * cols));
  const scales = x.scales.subarray((first * cols) / width, ((first + count) * cols) / width);
  const sums = weight.hasMinimums ? sumSegments(codes, count, segments) : null;
  const row = {
    q: new Float64Array(cols),
    scales: new Float32Array(0),
    minimums: null as Float32Array | null,
  };
  const input: IntegerRow = { codes, scales, sums, at: 0, scaleAt: 0, sumAt: 0 };
  for (let n = 0; n < rows; n += 1) {
    expandIntegers(weight, n, row);
    for (let r = 0; r < count; r += 1) {
      input.at = r * cols;
      input.scaleAt = input.at / width;
      input.sumAt = r * segments.weightGroups.length;
      out[r * rows + n] = integerProduct(input, row, segments);
    }
  }
}

interface IntegerRow {
  readonly codes: Float64Array;
  readonly scales: Float32Array;
  readonly sums: Float64Array | null;
  at: number;
  scaleAt: number;
  sumAt: number;
}

function integerProduct(
  x: IntegerRow,
  w: { readonly q: Float64Array; readonly scales: Float32Array; readonly minimums: Float32Array | null },
  { starts, weightGroups, activationGroups }: Segments,
): number {
  let acc = 0;
  for (let s = 0; s < weightGroups.length; s += 1) {
    const start = starts[s]!;
    const group = weightGroups[s]!;
    const xScale = x.scales[x.scaleAt + activationGroups[s]!]!;
    // Doubles hold these integers exactly.
    const partial = dot(x.codes, x.at + start, w.q, start, starts[s + 1]! - start);
    acc = Math.fround(acc + Math.fround(Math.fround(xScale * w.scales[group]!) * Math.fround(partial)));
    if (w.minimums === null || x.sums === null) continue;
    const sum = x.sums[x.sumAt + s]!;
    acc = Math.fround(acc + Math.fround(Math.fround(xScale * w.minimums[group]!) * Math.fround(sum)));
  }
  return acc;
}

function sumSegments(codes: Float64Array, count: number, { starts, weightGroups }: Segments): Float64Array {
  const cols = starts.at(-1)!;
  const numSegments = weightGroups.length;
  const sums = new Float64Array(count * numSegments);
  for (let r = 0; r < count; r += 1) {
    for (let s = 0; s < numSegments; s += 1) {
      let sum = 0;
      for (let i = starts[s]!; i < starts[s + 1]!; i += 1) sum += codes[r * cols + i]!;
      sums[r * numSegments + s] = sum;
    }
  }
  return sums;
}

/** Four interleaved sums: one chain of additions would wait for itself. */
export function dot(
  a: Float64Array,
  aStart: number,
  b: Float64Array,
  bStart: number,
  length: number,
): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    s0 += a[aStart + i]! * b[bStart + i]!;
    s1 += a[aStart + i + 1]! * b[bStart + i + 1]!;
    s2 += a[aStart + i + 2]! * b[bStart + i + 2]!;
    s3 += a[aStart + i + 3]! * b[bStart + i + 3]!;
  }
  for (; i < length; i += 1) s0 += a[aStart + i]! * b[bStart + i]!;
  return s0 + s1 + (s2 + s3);
}
