import { bf16ToF32, f32ToBf16, roundHalfEven } from "../../base/half.ts";
import { invariant } from "../../base/invariant.ts";
import type { TensorForm } from "../ops.ts";

/** A matrix of activations. Integer forms hold codes and scales; float forms hold values, bf16 ones rounded. */
export interface ActivationMatrix {
  readonly form: TensorForm;
  readonly rows: number;
  readonly cols: number;
  /** [rows, cols] values, or null for the integer forms. */
  readonly values: Float32Array | null;
  /** [rows, cols], or null for the float forms. */
  readonly codes: Int8Array | null;
  /** [rows, cols / groupSize] */
  readonly scales: Float32Array | null;
  /** Columns that share a scale. */
  readonly groupSize: number;
}

export function floatMatrix(rows: number, cols: number, values: Float32Array): ActivationMatrix {
  return { form: "f32", rows, cols, values, codes: null, scales: null, groupSize: cols };
}

/** Converts f32 values [rows, cols] to a form. */
export function toForm(values: Float32Array, rows: number, cols: number, form: TensorForm): ActivationMatrix {
  if (form === "f32") return floatMatrix(rows, cols, values);
  if (form === "bf16") {
    const rounded = values.map((value) => bf16ToF32(f32ToBf16(value)));
    return { form, rows, cols, values: rounded, codes: null, scales: null, groupSize: cols };
  }
  const groupSize = form === "int8-token" ? cols : 32;
  invariant(cols % groupSize === 0, `${cols} columns do not divide into blocks of ${groupSize}`);
  const codes = new Int8Array(rows * cols);
  const scales = new Float32Array((rows * cols) / groupSize);
  for (let group = 0; group < scales.length; group += 1) {
    scales[group] = quantizeGroup(values, codes, group * groupSize, groupSize);
  }
  return { form, rows, cols, values: null, codes, scales, groupSize };
}

/** Symmetric int8: scale = amax / 127, code = half-even(x / scale), both divisions in f32. Returns the scale. */
function quantizeGroup(values: Float32Array, codes: Int8Array, start: number, length: number): number {
  let amax = 0;
  for (let index = start; index < start + length; index += 1) amax = Math.max(amax, Math.abs(values[index]!));
  const scale = Math.fround(amax / 127);
  if (scale === 0) return 0;
  for (let index = start; index < start + length; index += 1) {
    const code = roundHalfEven(Math.fround(values[index]! / scale));
    codes[index] = Math.min(127, Math.max(-127, code));
  }
  return scale;
}
