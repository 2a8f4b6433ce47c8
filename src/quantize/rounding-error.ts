import { bf16ToF32 } from "../base/half.ts";
import type { Quantized } from "./grid.ts";

/** Sums over a matrix, in f64. */
export interface RoundingError {
  /** Of (w − scale · (code − zero))². */
  readonly squaredError: number;
  /** Of w². */
  readonly squaredSum: number;
}

export function roundingError(values: Float32Array, quantized: Quantized): RoundingError {
  const { codes, scales, zeros } = quantized;
  const groupSize = values.length / scales.length;
  let squaredError = 0;
  let squaredSum = 0;
  for (let group = 0, i = 0; group < scales.length; group += 1) {
    const scale = bf16ToF32(scales[group]!);
    const zero = zeros === null ? 0 : zeros[group]!;
    for (const end = i + groupSize; i < end; i += 1) {
      const value = values[i]!;
      const error = value - (codes[i]! - zero) * scale;
      squaredError += error * error;
      squaredSum += value * value;
    }
  }
  return { squaredError, squaredSum };
}

/** The root of the sum of squared errors over the sum of squared weights; 0 for zeros. */
export function relativeError({ squaredError, squaredSum }: RoundingError): number {
  return squaredSum === 0 ? 0 : Math.sqrt(squaredError / squaredSum);
}
