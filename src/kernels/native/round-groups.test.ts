import { describe, expect, test } from "vitest";
import { numbers, oddWeights } from "../../../tests/odd-weights.ts";
import { createSolver } from "../create-solver.ts";
import type { Grid } from "../grid.ts";
import { referenceSolver } from "../reference/reference-solver.ts";
import type { GroupJob, Solver } from "../solver.ts";
import { testedIsas } from "./tested-isas.ts";

const rows = 5;
const cols = 256;

/** Odd weights, and among them ties and numbers that are far off. */
function weights(): Float32Array {
  const values = oddWeights(rows * cols);
  for (let i = 512; i < 544; i += 1) values[i] = ((i % 16) - 7.5) / 8;
  values[600] = 40;
  values[700] = -3e38;
  return values;
}

const importance = numbers(cols, 9).map((value) => 1.01 + value);
const grids = [2, 3, 4, 8].flatMap((bits) =>
  [true, false].flatMap((symmetric) => [32, cols].map((groupSize) => ({ bits, groupSize, symmetric }))),
);
const jobs = grids.flatMap((own): GroupJob[] => {
  const grid: Grid = { ...own, roundsSteps: false };
  const job = { cols, values: weights(), grid, importance: null, isSearched: false };
  return [
    job,
    { ...job, grid: { ...grid, roundsSteps: true } },
    { ...job, isSearched: true },
    { ...job, isSearched: true, importance },
  ];
});

/** All that a solver makes of the weights. */
function resultsOf(solver: Solver, job: GroupJob) {
  const quantized = solver.roundGroups(job);
  const values = solver.readGroups(quantized, cols);
  const packed = solver.packCodes(quantized.codes, cols, job.grid.bits);
  // As bits: both zeros are one only where they are made one.
  const bits = new Uint32Array(values.buffer);
  const errors = solver.squaredErrors(job.values, values, cols);
  const checksums = solver.rowChecksums(values, cols);
  return { quantized, bits, packed, errors, checksums };
}

describe.each(testedIsas)("integers in groups, of %s", (isa) => {
  test.each(jobs)("are those of the reference, with any number of threads: $grid", (job) => {
    const expected = resultsOf(referenceSolver, job);
    for (const numThreads of [1, 3]) {
      const solver = createSolver({ backend: "native", isa, numThreads });
      expect(resultsOf(solver, job)).toEqual(expected);
      solver.close();
    }
  });

  test("are packed with rows padded to whole words", () => {
    const codes = Int8Array.from(numbers(3 * 50, 4), (value) => Math.floor(value * 4));
    const solver = createSolver({ backend: "native", isa, numThreads: 2 });
    expect(solver.packCodes(codes, 50, 3)).toEqual(referenceSolver.packCodes(codes, 50, 3));
    solver.close();
  });
});
