import { bf16ToF32, f32ToBf16, roundHalfEven } from "../../base/half.ts";
import { columnsPerScale, type ReferenceTensor } from "./tensor-arena.ts";

/** Writes one row of f32 values into row `row` of `into`, in its form. */
export function writeRow(values: Float32Array, into: ReferenceTensor, row: number): void {
  const { cols, form } = into;
  const start = row * cols;
  if (form === "f32") {
    into.values.set(values, start);
  } else if (form === "bf16") {
    for (let i = 0; i < cols; i += 1) into.values[start + i] = bf16ToF32(f32ToBf16(values[i]!));
  } else {
    const width = columnsPerScale(form, cols);
    const firstScale = (row * cols) / width;
    for (let column = 0, index = firstScale; column < cols; column += width, index += 1) {
      into.scales[index] = quantizeRun(values.subarray(column, column + width), into.codes, start + column);
    }
  }
}

/** Writes a tensor of any form as f32: values as they are, code · scale rounded once. */
export function readTensor(x: ReferenceTensor, into: Float32Array): void {
  const { codes, scales, values, cols, form } = x;
  if (codes.length === 0) return into.set(values);
  const width = columnsPerScale(form, cols);
  for (let i = 0; i < codes.length; i += 1) into[i] = codes[i]! * scales[Math.floor(i / width)]!;
}

/**
 * Symmetric int8: scale = fround(amax / 127), code = half-even(fround(x / scale)) held to ±127. All-zero input gives
 * scale 0 and codes 0, as does an amax so small that its scale rounds to zero.
 *
 * @returns the scale
 */
export function quantizeRun(values: Float32Array, codes: Int8Array, at: number): number {
  let amax = 0;
  for (let i = 0; i < values.length; i += 1) amax = Math.max(amax, Math.abs(values[i]!));
  const scale = Math.fround(amax / 127);
  for (let i = 0; i < values.length; i += 1) {
    const code = scale === 0 ? 0 : roundHalfEven(Math.fround(values[i]! / scale));
    codes[at + i] = Math.max(-127, Math.min(127, code));
  }
  return scale;
}
