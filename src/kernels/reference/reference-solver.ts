import { valuesOf } from "../grid.ts";
import { packCodes } from "../packed-codes.ts";
import type { GroupJob, RoundingJob, Solver } from "../solver.ts";
import { nearestCode } from "./block-fit.ts";
import { roundBlocks } from "./round-blocks.ts";
import { quantizeToNearest } from "./round-to-nearest.ts";
import { rowChecksums } from "./row-checksums.ts";
import { searchScales } from "./scale-search.ts";
import { squaredErrors } from "./squared-errors.ts";

/** The same in plain loops, sums in f64 and results in f32: slow, to check the native kernels with. */
export const referenceSolver: Solver = {
  addGram(x, count, gram) {
    const cols = Math.sqrt(gram.length);
    for (let i = 0; i < cols; i += 1) {
      for (let j = i; j < cols; j += 1) {
        let sum = 0;
        for (let t = 0; t < count; t += 1) sum += x[t * cols + i]! * x[t * cols + j]!;
        gram[i * cols + j] = gram[i * cols + j]! + sum;
      }
    }
  },

  addSquares(x, count, sums) {
    const cols = sums.length;
    for (let i = 0; i < count * cols; i += 1) sums[i % cols] = sums[i % cols]! + x[i]! ** 2;
  },

  factorize(matrix, n, inverse) {
    for (let i = 0; i < n; i += 1) {
      for (let j = i; j < n; j += 1) {
        let sum = matrix[i * n + j]!;
        for (let m = 0; m < i; m += 1) sum -= matrix[m * n + i]! * matrix[m * n + j]!;
        if (j === i && !(sum > 0 && sum < Infinity)) return false;
        matrix[i * n + j] = j === i ? Math.sqrt(sum) : sum / matrix[i * n + i]!;
      }
    }
    inverse.fill(0);
    for (let j = 0; j < n; j += 1) {
      for (let i = j; i >= 0; i -= 1) {
        let sum = i === j ? 1 : 0;
        for (let m = i + 1; m <= j; m += 1) sum -= matrix[i * n + m]! * inverse[m * n + j]!;
        inverse[i * n + j] = sum / matrix[i * n + i]!;
      }
    }
    return true;
  },

  roundRows({ cols, values, range, groupSize, scales, minimums, order, upper }: RoundingJob) {
    const codes = new Int8Array(values.length);
    for (let start = 0; start < values.length; start += cols) {
      const w = Float32Array.from(order, (column) => values[start + column]!);
      for (let i = 0; i < cols; i += 1) {
        const at = start + order[i]!;
        const group = Math.floor(at / groupSize);
        const [scale, minimum] = [scales[group]!, minimums === null ? 0 : minimums[group]!];
        const code = nearestCode(scale === 0 ? 0 : Math.fround((w[i]! - minimum) / scale), range);
        codes[at] = code;
        const error = (w[i]! - (scale * code + minimum)) / upper[i * cols + i]!;
        for (let j = i + 1; j < cols; j += 1) w[j] = w[j]! - error * upper[i * cols + j]!;
      }
    }
    return codes;
  },

  roundBlocks,

  roundGroups: ({ values, grid, importance, isSearched }: GroupJob) =>
    isSearched ? searchScales(values, grid, importance) : quantizeToNearest(values, grid),

  readGroups: (quantized) => valuesOf(quantized),
  packCodes,
  squaredErrors,
  rowChecksums,

  readWeight: () => false,
  areFinite: (values) => values.every(Number.isFinite),

  quadraticForms(x, y, gram, n) {
    const forms = new Float64Array(x.length / n);
    const d = y === null ? x : x.map((value, i) => value - y[i]!);
    for (let row = 0; row < forms.length; row += 1) {
      for (let i = 0; i < n; i += 1) {
        let product = 0;
        for (let j = 0; j < n; j += 1) product += gram[i * n + j]! * d[row * n + j]!;
        forms[row] = forms[row]! + product * d[row * n + i]!;
      }
    }
    return forms;
  },

  close() {},
};
