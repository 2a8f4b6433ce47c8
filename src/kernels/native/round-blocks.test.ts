import { describe, expect, test } from "vitest";
import { numbers, oddWeights } from "../../../tests/odd-weights.ts";
import { type BlockType, blockTraits } from "../block-types.ts";
import { createSolver } from "../create-solver.ts";
import { referenceSolver } from "../reference/reference-solver.ts";
import type { Solver } from "../solver.ts";
import { testedIsas } from "./tested-isas.ts";

const rows = 5;
const cols = 512;
const types = Object.keys(blockTraits) as BlockType[];

/** Odd weights, and one that is far off. */
function weights(): Float32Array {
  const values = oddWeights(rows * cols);
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
