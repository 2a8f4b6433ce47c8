import { describe, expect, test } from "vitest";
import { type BlockType, blockTraits } from "../block-types.ts";
import { createSolver } from "../create-solver.ts";
import { referenceSolver } from "../reference/reference-solver.ts";
import type { Solver } from "../solver.ts";
import { testedIsas } from "./tested-isas.ts";

const rows = 5;
const cols = 512;
const types = Object.keys(blockTraits) as BlockType[];

/** Reproducible numbers in [−1, 1). */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Bell-shaped weights, and rows of zeros, of one value, of denormals and of one sign. */
function weights(): Float32Array {
  const [a, b, c] = [1, 2, 3].map((seed) => numbers(rows * cols, seed));
  const values = a!.map((value, i) => (value + b![i]! + c![i]!) / 50);
  values.fill(0, 0, 64);
  values.fill(0.25, 64, 96);
  for (let i = 96; i < 128; i += 1) values[i] = values[i]! * 2e-38;
  for (let i = 256; i < 512; i += 1) values[i] = Math.abs(values[i]!);
  values[300] = 40;
  return values;
}

interface Case {
  readonly type: BlockType;
  readonly isSearched: boolean;
  readonly isWeighted: boolean;
}

const cases = types.flatMap((type) =>
  [false, true].flatMap((isSearched) =>
    (isSearched ? [false, true] : [false]).map((isWeighted): Case => ({ type, isSearched, isWeighted })),
  ),
);
const importance = numbers(cols, 9).map((value) => 1.01 + value);

function blocksOf(solver: Solver, { type, isSearched, isWeighted }: Case): Uint8Array {
  const { size, bytes } = blockTraits[type];
  const blocks = new Uint8Array(((rows * cols) / size) * bytes);
  const values = weights();
  solver.roundBlocks({ type, cols, values, importance: isWeighted ? importance : null, isSearched, blocks });
  return blocks;
}

describe.each(testedIsas)("blocks of %s", (isa) => {
  test.each(cases)("are those of the reference, with any number of threads: %o", (each) => {
    const expected = blocksOf(referenceSolver, each);
    for (const numThreads of [1, 3]) {
      const solver = createSolver({ backend: "native", isa, numThreads });
      expect(Buffer.compare(blocksOf(solver, each), expected)).toBe(0);
      solver.close();
    }
  });
});
