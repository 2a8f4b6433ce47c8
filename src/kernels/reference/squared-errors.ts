import type { SquaredError } from "../solver.ts";

const lanes = 8;

/** Of each row over eight lanes, as the native kernels sum them. */
export function squaredErrors(wanted: Float32Array, written: Float32Array, cols: number): SquaredError {
  const rows = wanted.length / cols;
  const sums = new Float64Array(2 * rows);
  for (let row = 0; row < rows; row += 1) {
    const errors = new Float64Array(lanes);
    const squares = new Float64Array(lanes);
    for (let i = 0, at = row * cols; i < cols; i += 1, at += 1) {
      const lane = i % lanes;
      const value = wanted[at]!;
      const error = value - written[at]!;
      errors[lane] = errors[lane]! + error * error;
      squares[lane] = squares[lane]! + value * value;
    }
    sums[2 * row] = errors.reduce((sum, own) => sum + own, 0);
    sums[2 * row + 1] = squares.reduce((sum, own) => sum + own, 0);
  }
  return totalOf(sums);
}

/** @param sums [rows, 2] error and sum of each row */
export function totalOf(sums: Float64Array): SquaredError {
  let error = 0;
  let sum = 0;
  for (let i = 0; i < sums.length; i += 2) {
    error += sums[i]!;
    sum += sums[i + 1]!;
  }
  return { error, sum };
}
