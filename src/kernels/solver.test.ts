import { afterAll, describe, expect, it } from "vitest";
import { numbers } from "../../tests/odd-weights.ts";
import { iq4Levels } from "../base/iq4-levels.ts";
import { allIntegers, blockCodeRange } from "./block-codes.ts";
import { nativeStatus } from "./create-ops.ts";
import { createSolver } from "./create-solver.ts";
import { referenceSolver } from "./reference/reference-solver.ts";
import type { RoundingJob, Solver } from "./solver.ts";

const { isas } = nativeStatus();

function mirror(matrix: Float32Array, n: number): Float32Array {
  for (let i = 0; i < n; i += 1) for (let j = 0; j < i; j += 1) matrix[i * n + j] = matrix[j * n + i]!;
  return matrix;
}

function gramOf(solver: Solver, x: Float32Array, count: number, cols: number): Float32Array {
  const gram = new Float32Array(cols * cols);
  solver.addGram(x, count, gram);
  return mirror(gram, cols);
}

/** Inputs whose columns are related, as those of a model are. */
function inputs(count: number, cols: number): Float32Array {
  const x = numbers(count * cols, 7);
  for (let t = 0; t < count; t += 1)
    for (let i = 1; i < cols; i += 1) x[t * cols + i] = 0.7 * x[t * cols + i - 1]! + 0.5 * x[t * cols + i]!;
  return x;
}

/** A job over the factor of a damped Gram matrix, as a quantiser makes it. */
function roundingJob(rows: number, cols: number): RoundingJob {
  const gram = gramOf(referenceSolver, inputs(4 * cols, cols), 4 * cols, cols);
  const reversed = gram.toReversed();
  for (let i = 0; i < cols; i += 1) reversed[i * cols + i] = reversed[i * cols + i]! * 1.01;
  const inverse = new Float32Array(cols * cols);
  expect(referenceSolver.factorize(reversed, cols, inverse)).toBe(true);
  const upper = new Float32Array(cols * cols);
  for (let i = 0; i < cols; i += 1)
    for (let j = i; j < cols; j += 1) upper[i * cols + j] = inverse[(cols - 1 - j) * cols + cols - 1 - i]!;
  return {
    cols,
    values: numbers(rows * cols, 3),
    range: allIntegers(-8, 7),
    groupSize: 16,
    scales: new Float32Array((rows * cols) / 16).fill(1 / 7.5),
    minimums: null,
    order: Int32Array.from({ length: cols }, (_, i) => i),
    upper,
  };
}

describe.each(isas)("the native solver, %s", (isa) => {
  const solvers = [1, 3].map((numThreads) => createSolver({ backend: "native", isa, numThreads }));
  const [single, several] = solvers as [Solver, Solver];
  afterAll(() => {
    for (const solver of solvers) solver.close();
  });

  it.each([
    [1, 16],
    [37, 48],
    [200, 144],
  ])(
    "sums up %i rows of %i columns as the reference does, and the same with several threads",
    (count, cols) => {
      const x = inputs(count, cols);
      const found = gramOf(single, x, count, cols);
      const expected = gramOf(referenceSolver, x, count, cols);
      for (const [i, value] of expected.entries())
        expect(Math.abs(found[i]! - value)).toBeLessThan(1e-5 * count);
      expect(gramOf(several, x, count, cols)).toEqual(found);
    },
  );

  it.each([16, 80, 144, 208])("factorises %i columns: R⁻¹ times R is one", (n) => {
    const gram = gramOf(referenceSolver, inputs(4 * n, n), 4 * n, n);
    for (let i = 0; i < n; i += 1) gram[i * n + i] = gram[i * n + i]! * 1.01;
    const results = [single, several].map((solver) => {
      const r = gram.slice();
      const inverse = new Float32Array(n * n);
      expect(solver.factorize(r, n, inverse)).toBe(true);
      return { r, inverse };
    });
    const { r, inverse } = results[0]!;
    for (let i = 0; i < n; i += 1) {
      for (let j = i; j < n; j += 1) {
        let sum = 0;
        let square = 0;
        for (let m = i; m <= j; m += 1) sum += r[i * n + m]! * inverse[m * n + j]!;
        for (let m = 0; m <= i; m += 1) square += r[m * n + i]! * r[m * n + j]!;
        expect(Math.abs(sum - (i === j ? 1 : 0))).toBeLessThan(1e-4);
        expect(Math.abs(square - gram[i * n + j]!)).toBeLessThan(1e-4 * n);
      }
    }
    expect(results[1]).toEqual(results[0]);
  });

  it("says that a matrix is not positive definite", () => {
    const n = 32;
    const matrix = new Float32Array(n * n);
    for (let i = 0; i < n; i += 1) matrix[i * n + i] = i === 20 ? -1 : 1;
    expect(single.factorize(matrix.slice(), n, new Float32Array(n * n))).toBe(false);
    expect(referenceSolver.factorize(matrix.slice(), n, new Float32Array(n * n))).toBe(false);
  });

  it.each([true, false])("rounds rows as the reference does (symmetric: %s)", (symmetric) => {
    const [rows, cols] = [40, 144];
    const given = roundingJob(rows, cols);
    const minimums = symmetric ? null : given.scales.map((_, group) => -0.9 - 0.01 * (group % 7));
    const range = symmetric ? given.range : allIntegers(0, 15);
    const order = given.order.map((i) => (i * 5) % cols);
    // A group whose scale is 0 has one value only.
    const scales = given.scales.map((scale, group) => (group === 30 ? 0 : scale));
    const codes = [referenceSolver, single, several].map((solver) =>
      solver.roundRows({ ...given, range, minimums, order, scales }),
    );
    expect(codes[2]).toEqual(codes[1]);
    expect(codes[1]!.subarray(480, 496)).toEqual(new Int8Array(16));
    // A value within the last bit of a tie may fall to the other side, and moves those behind it.
    const numOther = codes[0]!.reduce((count, code, i) => count + (code === codes[1]![i] ? 0 : 1), 0);
    expect(numOther).toBeLessThan(0.01 * rows * cols);
  });

  it("rounds rows to the integers of a table as the reference does", () => {
    const [rows, cols] = [24, 96];
    const given = roundingJob(rows, cols);
    const scales = given.scales.map((_, group) => (group % 2 === 0 ? 1 : -1) / 127);
    const job = { ...given, scales, range: blockCodeRange("IQ4_NL") };
    const codes = [referenceSolver, single, several].map((solver) => solver.roundRows(job));
    expect(codes[2]).toEqual(codes[1]);
    for (const own of codes) expect(new Set(own)).toEqual(new Set(iq4Levels));
    const numOther = codes[0]!.reduce((count, code, i) => count + (code === codes[1]![i] ? 0 : 1), 0);
    expect(numOther).toBeLessThan(0.01 * rows * cols);
  });

  it("rounds the columns in the order that it is given: the same job with its columns moved gives the same codes", () => {
    const [rows, cols] = [3, 48];
    const job = roundingJob(rows, cols);
    const reversed = job.values.map((_, i) => job.values[i - (i % cols) + cols - 1 - (i % cols)]!);
    const codes = single.roundRows(job);
    const order = job.order.toReversed();
    const others = single.roundRows({ ...job, values: reversed, order });
    expect(others.map((_, i) => others[i - (i % cols) + cols - 1 - (i % cols)]!)).toEqual(codes);
  });

  it("passes errors on so that outputs are nearer than those of plain rounding", () => {
    const [rows, cols] = [24, 144];
    const job = roundingJob(rows, cols);
    const before = job.values;
    const codes = single.roundRows(job);
    const gram = gramOf(referenceSolver, inputs(4 * cols, cols), 4 * cols, cols);
    const errorOf = (codeOf: (i: number) => number): number => {
      const rounded = before.map((_, i) => codeOf(i) / 7.5);
      return single.quadraticForms(before, rounded, gram, cols).reduce((sum, value) => sum + value, 0);
    };
    const plain = errorOf((i) => Math.min(7, Math.max(-8, Math.round(before[i]! * 7.5))));
    expect(errorOf((i) => codes[i]!)).toBeLessThan(0.7 * plain);
  });

  it.each([false, true])(
    "computes quadratic forms as the reference does (of differences: %s)",
    (isDifference) => {
      const n = 144;
      const x = numbers(21 * n, 5);
      const y = isDifference ? numbers(21 * n, 6) : null;
      const gram = gramOf(referenceSolver, inputs(4 * n, n), 4 * n, n);
      const expected = referenceSolver.quadraticForms(x, y, gram, n);
      const found = single.quadraticForms(x, y, gram, n);
      for (const [row, value] of expected.entries())
        expect(found[row]).toBeCloseTo(value, -Math.log10(1e-5 * value));
      expect(several.quadraticForms(x, y, gram, n)).toEqual(found);
    },
  );

  it("sums up the squares of columns as the reference does", () => {
    const [count, cols] = [37, 48];
    const x = inputs(count, cols);
    const [expected, found, again] = [referenceSolver, single, several].map((solver) => {
      const sums = new Float32Array(cols).fill(2);
      solver.addSquares(x, count, sums);
      return sums;
    });
    for (const [i, value] of expected!.entries()) expect(found![i]).toBeCloseTo(value, 4);
    expect(again).toEqual(found);
  });
});
