import fc from "fast-check";
import { expect, test } from "vitest";
import { BlockPool } from "../block-pool.ts";
import { SequenceTable, sequenceKinds } from "../sequence-table.ts";
import { DraftCoverage } from "./draft-coverage.ts";

const blockSize = 4;

function setUp(numBlocks = 8): { table: SequenceTable; pool: BlockPool; coverage: DraftCoverage } {
  const table = new SequenceTable(4, blockSize);
  const pool = new BlockPool(numBlocks);
  return { table, pool, coverage: new DraftCoverage(table, pool.numUses) };
}

/** A row of so many tokens with blocks from the pool, after those that it shares with another row. */
function openRow(
  { table, pool }: ReturnType<typeof setUp>,
  numTokens: number,
  shared: number[] = [],
): number {
  const row = table.open(0, sequenceKinds.generate, new Int32Array(numTokens));
  const count = table.blocksFor(numTokens);
  const blocks = table.reserveBlocks(row, count);
  for (let index = 0; index < count; index += 1) {
    if (index < shared.length) pool.retain(shared[index]!);
    blocks[index] = shared[index] ?? pool.take();
  }
  table.numBlocks[row] = count;
  return row;
}

function closeRow({ table, pool }: ReturnType<typeof setUp>, row: number): void {
  for (const block of table.blockTable(row).subarray(0, table.numBlocks[row])) pool.release(block, true);
  table.numBlocks[row] = 0;
  table.close(row);
}

test("holds what was computed, in any number of pieces", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 4 }), (pieces) => {
      const world = setUp(16);
      const row = openRow(world, 40);
      let end = 0;
      for (const count of pieces) {
        world.coverage.extend(row, end, end + count);
        end += count;
        expect(world.coverage.numHeld(row)).toBe(end);
      }
    }),
  );
});

test("serves every row that has the block, as far as it is full", () => {
  const world = setUp();
  const first = openRow(world, 10);
  world.coverage.extend(first, 0, 10);
  const [a, b, c] = world.table.blockTable(first);
  expect(world.coverage.numHeld(openRow(world, 12, [a!, b!]))).toBe(8);
  world.coverage.extend(first, 10, 11);
  expect(world.coverage.numHeld(first)).toBe(10);
  expect(world.pool.refCount(c!)).toBe(1);
});

test("forgets a block that is handed out anew, and what comes behind it", () => {
  const world = setUp(3);
  const first = openRow(world, 12);
  world.coverage.extend(first, 0, 12);
  const blocks = [...world.table.blockTable(first).subarray(0, 3)];
  closeRow(world, first);
  // The tail is used again first.
  const other = openRow(world, 4);
  const taken = world.table.blockTable(other)[0]!;
  expect(world.coverage.numHeld(other)).toBe(0);
  const kept = blocks.slice(0, blocks.indexOf(taken));
  closeRow(world, other);
  const again = openRow(world, 12, blocks);
  expect(world.coverage.numHeld(again)).toBe(kept.length * blockSize);
});
