import { MillraceError } from "../base/errors.ts";
import type { SquaredError } from "../kernels/solver.ts";

/** How far what a file holds is from what it was made of: sums over a matrix, in f64. */
export class RoundingError {
  #error = 0;
  #sum = 0;

  /** Of a band of rows. */
  add({ error, sum }: SquaredError): void {
    this.#error += error;
    this.#sum += sum;
  }

  /**
   * The root of the sum of squared errors over the sum of squared weights; 0 for zeros. Throws `model_not_finite` for
   * weights that no scale of the file reaches.
   */
  relative(name: string): number {
    if (this.#sum === 0) return 0;
    const error = Math.sqrt(this.#error / this.#sum);
    if (error < Infinity) return error;
    throw new MillraceError(
      "model_not_finite",
      `${name} holds weights that are too large for the scales of this scheme. Weights of a language model are far below 65504. Use --scheme w8a8, or fetch the model again.`,
    );
  }
}
