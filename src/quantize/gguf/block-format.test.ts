import { expect, test } from "vitest";
import { numbers, oddWeights } from "../../../tests/odd-weights.ts";
import type { IntegerWeight } from "../../base/weights.ts";
import { dequantize } from "../../formats/dequantize.ts";
import { readBlocks } from "../../formats/gguf/blocks.ts";
import { blockCodeRange, putBlockCodes } from "../../kernels/block-codes.ts";
import { type BlockType, blockTraits } from "../../kernels/block-types.ts";
import { referenceSolver } from "../../kernels/reference/reference-solver.ts";
import { BlockRowFormat } from "./block-format.ts";

const types = Object.keys(blockTraits) as BlockType[];
const [rows, cols] = [3, 512];

function blocksOf(type: BlockType, values: Float32Array): Uint8Array {
  const { size, bytes } = blockTraits[type];
  const blocks = new Uint8Array((values.length / size) * bytes);
  referenceSolver.roundBlocks({ type, cols, values, importance: null, isSearched: true, blocks });
  return blocks;
}

const read = (type: BlockType, data: Uint8Array): IntegerWeight =>
  readBlocks({ type, rows, cols, data }) as IntegerWeight;

test.each(types)("the reader of %s finds the integers that were put into its blocks", (type) => {
  const blocks = blocksOf(type, oddWeights(rows * cols));
  const { least, most, levels } = blockCodeRange(type);
  const codes = Int8Array.from(numbers(rows * cols, 4), (value) => {
    const share = (value + 1) / 2;
    return levels === null ? Math.round(least + share * (most - least)) : levels[Math.round(share * 15)]!;
  });
  expect([Math.min(...codes), Math.max(...codes)]).toEqual([least, most]);
  const { scales, minimums, groupSize } = read(type, blocks.slice());
  putBlockCodes(type, codes, blocks);
  const after = read(type, blocks);
  expect(after.scales).toEqual(scales);
  const values = dequantize(after);
  for (const [i, code] of codes.entries()) {
    const group = Math.floor(i / groupSize);
    const expected = Math.fround(Math.fround(scales[group]! * code) + (minimums?.[group] ?? 0));
    expect(values[i]! + 0).toBe(expected + 0);
  }
});

test.each(types)("errors of %s are passed on, and scales stay", (type) => {
  const format = new BlockRowFormat(type, cols, true, referenceSolver);
  const values = oddWeights(rows * cols);
  const band = { values, firstRow: 0, isStoredBf16: false };
  const plain = format.round(band, null);
  // Without relations between columns nothing is passed on: the integers are the nearest ones.
  const order = Int32Array.from({ length: cols }, (_, i) => cols - 1 - i);
  const upper = new Float32Array(cols * cols);
  for (let i = 0; i < cols; i += 1) upper[i * cols + i] = 1;
  const alone = format.passErrorsOn(band, plain, { order, upper, damping: 0.01 });
  const errorOf = (found: Float32Array): number => referenceSolver.squaredErrors(values, found, cols).error;
  expect(errorOf(alone.values)).toBeLessThanOrEqual(1.001 * errorOf(plain.values));
  for (let i = 0; i + 1 < cols; i += 1) upper[i * cols + i + 1] = 0.5;
  const passed = format.passErrorsOn(band, plain, { order, upper, damping: 0.01 });
  expect(passed.weight.scales).toEqual(plain.weight.scales);
  expect(errorOf(passed.values)).toBeGreaterThan(errorOf(alone.values));
});
