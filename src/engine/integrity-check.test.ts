import { expect, test } from "vitest";
import { createKvManager } from "./create-kv-manager.ts";
import { EngineCounters } from "./engine-stats.ts";
import { IntegrityCheck } from "./integrity-check.ts";
import type { KvManager } from "./kv-manager.ts";
import { SequenceTable, sequenceKinds } from "./sequence-table.ts";

const blockSize = 4;

function makeBooks(numBlocks: number): { readonly table: SequenceTable; readonly kv: KvManager } {
  const table = new SequenceTable(2, blockSize);
  const costs = { recompute: () => 0, swap: () => 1 };
  const settings = { numBlocks, blockSize, numHostBlocks: 0, isSharing: true };
  return { table, kv: createKvManager(settings, { table, costs, counters: new EngineCounters() }) };
}

test.each([1, 256, 257, 1000])("looks at each of %i blocks once, then begins again", (numBlocks) => {
  const seen: number[] = [];
  const sizes: number[] = [];
  const check = new IntegrityCheck(
    {
      checkIdle: (first, count) => {
        sizes.push(count);
        for (let block = first; block < first + count; block += 1) seen.push(block);
      },
    },
    numBlocks,
  );
  for (let moment = 0; moment < 2 * Math.ceil(numBlocks / 256); moment += 1) check.checkIdle();
  const each = Array.from({ length: numBlocks }, (_, block) => block);
  expect(seen).toEqual([...each, ...each]);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(256);
});

test("passes what a sequence leaves behind, and finds at once what one still holds", () => {
  const { table, kv } = makeBooks(600);
  const check = new IntegrityCheck(kv, 600);
  const row = table.open(1, sequenceKinds.generate, [1, 2, 3, 4, 5, 6]);
  kv.admit(row, {});
  expect(kv.tryPlace(row, 0)).toBe(true);
  expect(() => check.checkIdle()).toThrow("idle, but blocks are held");
  table.numComputed[row] = 6;
  kv.prefixes.publish(row);
  kv.release(row);
  for (let moment = 0; moment < 6; moment += 1) check.checkIdle();
});

test("finds a promise to compute blocks that nobody keeps", () => {
  const { table, kv } = makeBooks(8);
  const row = table.open(1, sequenceKinds.generate, [1, 2, 3, 4, 5, 6]);
  kv.admit(row, {});
  kv.prefixes.announce(row);
  expect(() => kv.checkIdle(0, 8)).toThrow("something is kept");
});
