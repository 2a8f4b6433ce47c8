import { MillraceError } from "../base/errors.ts";

/** How far what a file holds is from what it was made of: sums over a matrix, in f64. */
export class RoundingError {
  squaredError = 0;
  squaredSum = 0;

  add(wanted: Float32Array, written: Float32Array): void {
    let squaredError = 0;
    let squaredSum = 0;
    for (let i = 0; i < wanted.length; i += 1) {
      const value = wanted[i]!;
      const error = value - written[i]!;
      squaredError += error * error;
      squaredSum += value * value;
    }
    this.squaredError += squaredError;
    this.squaredSum += squaredSum;
  }

  /**
   * The root of the sum of squared errors over the sum of squared weights; 0 for zeros. Throws `model_not_finite` for
   * weights that no scale of the file reaches.
   */
  relative(name: string): number {
    if (this.squaredSum === 0) return 0;
    const error = Math.sqrt(this.squaredError / this.squaredSum);
    if (error < Infinity) return error;
    throw new MillraceError(
      "model_not_finite",
      `${name} holds weights that are too large for the scales of this scheme. Weights of a language model are far below 65504. Use --scheme w8a8, or fetch the model again.`,
    );
  }
}
