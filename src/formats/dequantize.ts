import { f16ToF32, f32ToBf16, f32ToF16 } from "../base/half.ts";
import { invariant } from "../base/invariant.ts";
import type {
  DenseWeight,
  FloatDtype,
  IntegerWeight,
  OrderedWeight,
  ReorderedWeight,
  Weight,
} from "../base/weights.ts";
import { sliceRows } from "./slice-rows.ts";

/** Float elements of any alignment as f32. The result never shares memory with `data`. */
export function widenFloats(data: Uint8Array, dtype: FloatDtype): Float32Array {
  if (dtype === "f32") return new Float32Array(data.slice().buffer);
  const bits = data.byteOffset % 2 === 0 ? halfView(data) : halfView(data.slice());
  const out = new Float32Array(bits.length);
  if (dtype === "f16") {
    for (let i = 0; i < out.length; i += 1) out[i] = f16ToF32(bits[i]!);
    return out;
  }
  const words = new Uint32Array(out.buffer);
  for (let i = 0; i < words.length; i += 1) words[i] = bits[i]! << 16;
  return out;
}

/** f32 values as elements of `dtype`, rounded half to even. */
export function narrowFloats(values: Float32Array, dtype: FloatDtype): Uint8Array {
  if (dtype === "f32") return new Uint8Array(values.slice().buffer);
  const out = new Uint16Array(values.length);
  const convert = dtype === "f16" ? f32ToF16 : f32ToBf16;
  for (let i = 0; i < out.length; i += 1) out[i] = convert(values[i]!);
  return new Uint8Array(out.buffer);
}

/** The matrix [rows, cols] in f32, each operation rounded to f32 as the formats' own readers do. */
export function dequantize(weight: Weight): Float32Array {
  if (weight.kind === "dense") return widenFloats(weight.data, weight.dtype);
  if (weight.kind === "reordered") return dequantizeReordered(weight);
  return weight.bits === 8 ? dequantizeBytes(weight) : dequantizeNibbles(weight);
}

/** Values that are f32 at a time on their way to 16 bits: an embedding's would take gigabytes. */
const bandLength = 2 ** 18;

/** The matrix as floats of `dtype`, rounded half to even; the same object where it is that already. */
export function toDense(weight: Weight, dtype: FloatDtype): DenseWeight {
  if (weight.kind === "dense" && weight.dtype === dtype) return weight;
  const { rows, cols } = weight;
  if (dtype === "f32") return { kind: "dense", rows, cols, dtype, data: bytesOf(dequantize(weight)) };
  const data = new Uint8Array(2 * rows * cols);
  const rowsPerBand = Math.ceil(bandLength / cols);
  for (let row = 0; row < rows; row += rowsPerBand) {
    const band = sliceRows(weight, row, Math.min(rowsPerBand, rows - row));
    data.set(narrowFloats(dequantize(band), dtype), 2 * row * cols);
  }
  return { kind: "dense", rows, cols, dtype, data };
}

/** A weight whose columns are its input's in order: one of another order becomes f32, as no integer form holds it. */
export function withColumnsInOrder(weight: Weight): OrderedWeight {
  return weight.kind === "reordered" ? toDense(weight, "f32") : weight;
}

function dequantizeReordered({ rows, cols, matrix, columns }: ReorderedWeight): Float32Array {
  const values = dequantize(matrix);
  const out = new Float32Array(values.length);
  for (let row = 0, from = 0; row < rows; row += 1)
    for (let col = 0; col < cols; col += 1, from += 1) out[row * cols + columns[col]!] = values[from]!;
  return out;
}

function dequantizeBytes(weight: IntegerWeight): Float32Array {
  const { groupSize, scales, minimums } = weight;
  const codes = new Int8Array(weight.codes.buffer, weight.codes.byteOffset, weight.codes.length);
  const out = new Float32Array(codes.length);
  invariant(codes.length === scales.length * groupSize, "one scale for each group");
  for (let group = 0, i = 0; group < scales.length; group += 1) {
    const scale = scales[group]!;
    // Adding −0 keeps the sign of a zero product.
    const minimum = minimums === null ? -0 : minimums[group]!;
    for (const end = i + groupSize; i < end; i += 1) out[i] = Math.fround(scale * codes[i]!) + minimum;
  }
  return out;
}

function dequantizeNibbles(weight: IntegerWeight): Float32Array {
  const { groupSize, scales, minimums, codes } = weight;
  const out = new Float32Array(codes.length * 2);
  invariant(out.length === scales.length * groupSize, "one scale for each group");
  const zero = minimums === null ? 8 : 0;
  for (let group = 0, i = 0; group < scales.length; group += 1) {
    const scale = scales[group]!;
    const minimum = minimums === null ? -0 : minimums[group]!;
    for (const end = i + groupSize; i < end; i += 1) {
      const code = (codes[i >> 1]! >> ((i & 1) << 2)) & 15;
      out[i] = Math.fround(scale * (code - zero)) + minimum;
    }
  }
  return out;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function halfView(data: Uint8Array): Uint16Array {
  return new Uint16Array(data.buffer, data.byteOffset, data.length >> 1);
}
