import fc from "fast-check";
import { expect, test } from "vitest";
import { BlockPool } from "./block-pool.ts";

test("takes all asked blocks or none", () => {
  const pool = new BlockPool(4);
  const table = new Int32Array(8);
  expect(pool.tryAllocate(3, table, 0)).toBe(true);
  expect(pool.tryAllocate(2, table, 3)).toBe(false);
  expect(pool.numFree).toBe(1);
  pool.check();
});

test("hands a released table out again in the same order", () => {
  const pool = new BlockPool(4);
  const table = new Int32Array(3);
  pool.tryAllocate(3, table, 0);
  pool.release(table, 3);
  const again = new Int32Array(3);
  pool.tryAllocate(3, again, 0);
  expect(again).toEqual(table);
});

test("keeps a block until its last holder lets go", () => {
  const pool = new BlockPool(2);
  const table = new Int32Array(1);
  pool.tryAllocate(1, table, 0);
  pool.retain(table[0]!);
  pool.release(table, 1);
  expect(pool.numFree).toBe(1);
  pool.release(table, 1);
  expect(pool.numFree).toBe(2);
  expect(() => pool.release(table, 1)).toThrow("released while free");
  expect(() => pool.retain(table[0]!)).toThrow("retained while free");
});

interface NaiveHolder {
  readonly table: Int32Array;
}

/** The obvious pool: a set of free ids and a count per id. */
class NaivePool {
  readonly counts = new Map<number, number>();
  free: number;
  constructor(numBlocks: number) {
    this.free = numBlocks;
  }
  take(blocks: Int32Array): void {
    for (const block of blocks) {
      expect(this.counts.has(block)).toBe(false);
      this.counts.set(block, 1);
    }
    this.free -= blocks.length;
  }
  retain(blocks: Int32Array): void {
    for (const block of blocks) this.counts.set(block, this.counts.get(block)! + 1);
  }
  release(blocks: Int32Array): void {
    for (const block of blocks) {
      const count = this.counts.get(block)! - 1;
      if (count > 0) this.counts.set(block, count);
      else {
        this.counts.delete(block);
        this.free += 1;
      }
    }
  }
}

test("behaves as a naive pool under any sequence of operations", () => {
  const operation = fc.record({
    kind: fc.constantFrom("allocate", "release", "share"),
    count: fc.nat(6),
    pick: fc.nat(1000),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(operation, { maxLength: 60 }),
      (numBlocks, operations) => {
        const pool = new BlockPool(numBlocks);
        const naive = new NaivePool(numBlocks);
        const holders: NaiveHolder[] = [];
        for (const { kind, count, pick } of operations) {
          const index = holders.length === 0 ? -1 : pick % holders.length;
          const holder = holders[index];
          if (kind === "allocate") {
            const table = new Int32Array(count);
            const expected = count <= naive.free;
            expect(pool.tryAllocate(count, table, 0)).toBe(expected);
            if (expected) {
              naive.take(table);
              holders.push({ table });
            }
          } else if (kind === "share" && holder !== undefined) {
            for (const block of holder.table) pool.retain(block);
            naive.retain(holder.table);
            holders.push({ table: holder.table.slice() });
          } else if (holder !== undefined) {
            pool.release(holder.table, holder.table.length);
            naive.release(holder.table);
            holders.splice(index, 1);
          }
          pool.check();
          expect(pool.numFree).toBe(naive.free);
          for (let block = 0; block < numBlocks; block += 1) {
            expect(pool.refCount(block)).toBe(naive.counts.get(block) ?? 0);
          }
        }
      },
    ),
  );
});
