import { bf16ToF32, f16ToF32 } from "../../base/half.ts";
import { invariant } from "../../base/invariant.ts";
import type { DenseWeight, IntegerWeight, Weight } from "../../base/weights.ts";
import type { ActivationMatrix } from "./activations.ts";

/** Stacked weights as the reference holds them: integers unpacked to one byte each, floats widened. */
export interface PackedMatrix {
  readonly rows: number;
  readonly cols: number;
  /** Widened floats [rows, cols], or null for integers. */
  readonly values: Float32Array | null;
  /** q of IntegerWeight (4 bits without minimum already −8), [rows, cols]. */
  readonly codes: Int8Array | null;
  readonly scales: Float32Array;
  readonly minimums: Float32Array | null;
  readonly groupSize: number;
}

export function packMatrix(parts: readonly Weight[]): PackedMatrix {
  const first = parts[0];
  invariant(first !== undefined, "a linear has no parts");
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const shape = { rows, cols: first.cols };
  if (first.kind === "dense") {
    const values = concatenate(parts.map((part) => widenDense(part as DenseWeight)));
    return { ...shape, values, codes: null, scales: new Float32Array(0), minimums: null, groupSize: first.cols };
  }
  const integers = parts as readonly IntegerWeight[];
  const codes = new Int8Array(rows * first.cols);
  let offset = 0;
  for (const part of integers) {
    unpackCodes(part, codes, offset);
    offset += part.rows * part.cols;
  }
  return {
    ...shape,
    values: null,
    codes,
    scales: concatenate(integers.map((part) => part.scales)),
    minimums: first.minimums === null ? null : concatenate(integers.map((part) => part.minimums!)),
    groupSize: first.groupSize,
  };
}

/** Row `row` as f32 [cols]. */
export function unpackRow(matrix: PackedMatrix, row: number, into: Float32Array): void {
  const { cols, values, codes, scales, minimums, groupSize } = matrix;
  const start = row * cols;
  if (values !== null) {
    into.set(values.subarray(start, start + cols));
    return;
  }
  for (let col = 0; col < cols; col += 1) {
    const group = (start + col) / groupSize | 0;
    const product = Math.fround(scales[group]! * codes![start + col]!);
    into[col] = minimums === null ? product : product + minimums[group]!;
  }
}

/** y [x.rows, matrix.rows] = x · Wᵀ. */
export function multiply(x: ActivationMatrix, matrix: PackedMatrix): Float32Array {
  const out = new Float32Array(x.rows * matrix.rows);
  if (x.values !== null) multiplyFloats(x.values, x.rows, matrix, out);
  else multiplyIntegers(x, matrix, out);
  return out;
}

/** Float inputs: products and sums in f64, so the oracle's own error is far below any kernel's. */
function multiplyFloats(x: Float32Array, numRows: number, matrix: PackedMatrix, out: Float32Array): void {
  const { rows, cols } = matrix;
  const weights = new Float32Array(cols);
  for (let n = 0; n < rows; n += 1) {
    unpackRow(matrix, n, weights);
    for (let m = 0; m < numRows; m += 1) {
      let sum = 0;
      for (let k = 0, at = m * cols; k < cols; k += 1, at += 1) sum += x[at]! * weights[k]!;
      out[m * rows + n] = sum;
    }
  }
}

/** Integer inputs: exact integer dots over runs that share both scales, then f64 sums of the scaled runs. */
function multiplyIntegers(x: ActivationMatrix, matrix: PackedMatrix, out: Float32Array): void {
  const { rows, cols, codes, scales, minimums, groupSize } = matrix;
  invariant(codes !== null, "integer activations need integer weights");
  const run = Math.min(groupSize, x.groupSize);
  for (let m = 0; m < x.rows; m += 1) {
    for (let n = 0; n < rows; n += 1) {
      let sum = 0;
      for (let start = 0; start < cols; start += run) {
        let dot = 0;
        let inputSum = 0;
        const xAt = m * cols + start;
        const wAt = n * cols + start;
        for (let k = 0; k < run; k += 1) {
          dot += x.codes![xAt + k]! * codes[wAt + k]!;
          inputSum += x.codes![xAt + k]!;
        }
        const xScale = x.scales![Math.floor(xAt / x.groupSize)]!;
        const group = Math.floor(wAt / groupSize);
        const minimum = minimums === null ? 0 : minimums[group]!;
        sum += xScale * (scales[group]! * dot + minimum * inputSum);
      }
      out[m * rows + n] = sum;
    }
  }
}

function unpackCodes(part: IntegerWeight, into: Int8Array, offset: number): void {
  const count = part.rows * part.cols;
  if (part.bits === 8) {
    into.set(new Int8Array(part.codes.buffer, part.codes.byteOffset, count), offset);
    return;
  }
  const shift = part.minimums === null ? 8 : 0;
  for (let index = 0; index < count; index += 1) {
    const byte = part.codes[index >> 1]!;
    into[offset + index] = ((index & 1) === 0 ? byte & 15 : byte >> 4) - shift;
  }
}

function widenDense(weight: DenseWeight): Float32Array {
  const { data, dtype } = weight;
  const count = weight.rows * weight.cols;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const values = new Float32Array(count);
  for (let index = 0; index < count; index += 1) {
    if (dtype === "f32") values[index] = view.getFloat32(index * 4, true);
    else {
      const bits = view.getUint16(index * 2, true);
      values[index] = dtype === "bf16" ? bf16ToF32(bits) : f16ToF32(bits);
    }
  }
  return values;
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}
