import { expect, it } from "vitest";
import { numbers } from "../../../tests/odd-weights.ts";
import { bf16ToF32, f32ToBf16 } from "../../base/half.ts";
import type { InputSample } from "../calibration/collect-statistics.ts";
import type { LinearScheme } from "../linear-scheme.ts";
import { candidateFactors, ExpectedErrors, fitToNorm } from "./choose-factors.ts";

const w8a8: LinearScheme = {
  format: "int-quantized",
  bits: 8,
  groupSize: null,
  symmetric: true,
  activations: "int8-token",
};

const [numTokens, cols, rows] = [64, 32, 48];

/** Column 3 of the input is `outlier` times the others. */
function sampleWith(outlier: number): InputSample {
  const values = numbers(numTokens * cols, 1).map((x, i) => (i % cols === 3 ? outlier * x : x));
  const columns = Array.from({ length: cols }, (_, j) =>
    Array.from({ length: numTokens }, (__, t) => Math.abs(values[t * cols + j]!)),
  );
  return {
    rows: values,
    largest: Float32Array.from(columns, (column) => Math.max(...column)),
    mean: Float32Array.from(columns, (column) => column.reduce((sum, x) => sum + x, 0) / numTokens),
  };
}

function largestOf(weights: Float32Array): Float32Array {
  const largest = new Float32Array(cols);
  for (const [i, value] of weights.entries())
    largest[i % cols] = Math.max(largest[i % cols]!, Math.abs(value));
  return largest;
}

/** Σ (output − output of rounded input and rounded weights)², each number rounded as the scheme says. */
function measuredError(sample: InputSample, weights: Float32Array, factors: Float32Array): number {
  const round = (
    values: Float32Array,
    change: (x: number, j: number) => number,
    range: number,
  ): Float32Array =>
    values.map((_, i) => {
      const start = i - (i % cols);
      const row = Array.from({ length: cols }, (__, j) => change(values[start + j]!, j));
      const step = Math.max(...row.map(Math.abs)) / range;
      return Math.round(row[i % cols]! / step) * step;
    });
  const x = round(sample.rows, (value, j) => value / factors[j]!, 127);
  const w = round(weights, (value, j) => value * factors[j]!, 127.5);
  let sum = 0;
  for (let t = 0; t < numTokens; t += 1) {
    for (let n = 0; n < rows; n += 1) {
      let difference = 0;
      for (let j = 0; j < cols; j += 1)
        difference +=
          sample.rows[t * cols + j]! * weights[n * cols + j]! - x[t * cols + j]! * w[n * cols + j]!;
      sum += difference ** 2;
    }
  }
  return sum;
}

it("chooses factors that bring the measured error far down where one column is large", () => {
  const sample = sampleWith(40);
  const weights = numbers(rows * cols, 2);
  const candidates = candidateFactors(sample, { largest: largestOf(weights) });
  const errors = new ExpectedErrors(candidates, sample, w8a8);
  errors.addRows(weights.subarray(0, 16 * cols));
  errors.addRows(weights.subarray(16 * cols));
  const best = errors.best();
  const measured = candidates.map((factors) => measuredError(sample, weights, factors));
  const chosen = measured[candidates.indexOf(best)]!;
  expect(chosen).toBeLessThan(0.5 * measured[0]!);
  expect(chosen).toBeLessThan(1.25 * Math.min(...measured));
});

it("keeps ones where columns are alike", () => {
  const weights = new Float32Array(rows * cols).fill(0.5);
  const rowsOfOnes = new Float32Array(numTokens * cols).fill(1);
  const ones = new Float32Array(cols).fill(1);
  const sample = { rows: rowsOfOnes, largest: ones, mean: ones };
  const candidates = candidateFactors(sample, { largest: largestOf(weights) });
  const errors = new ExpectedErrors(candidates, sample, w8a8);
  errors.addRows(weights);
  expect(errors.best()).toBe(candidates[0]);
});

it.each([0, 1])("fits factors to what a norm with offset %i holds in bf16", (offset) => {
  const norm = numbers(cols, 5).map((x) => bf16ToF32(f32ToBf16(x + 2)));
  const sample = sampleWith(40);
  const free = candidateFactors(sample, { largest: largestOf(numbers(rows * cols, 2)) });
  const fitted = fitToNorm(free, norm, offset);
  expect(fitted[0]).toBe(free[0]);
  for (const [index, factors] of fitted.entries()) {
    for (const [j, factor] of factors.entries()) {
      const stored = bf16ToF32(f32ToBf16((norm[j]! + offset) / factor - offset));
      // What the norm gives times the factor is what it gave, to the last bits of f32.
      expect(Math.abs(((stored + offset) * factor) / (norm[j]! + offset) - 1)).toBeLessThan(1e-6);
      expect(Math.abs(factor / free[index]![j]! - 1)).toBeLessThan(0.05);
    }
  }
});
