import fc from "fast-check";
import { expect, test } from "vitest";
import { BlockPool } from "./block-pool.ts";

test("gives −1 when nothing is free", () => {
  const pool = new BlockPool(2);
  expect([pool.take(), pool.take(), pool.take()]).toEqual([0, 1, -1]);
  pool.check();
});

test("tells a free block from a held one", () => {
  const pool = new BlockPool(2);
  const block = pool.take();
  expect(() => pool.checkFree(block)).toThrow("free with 1 holders");
  pool.checkFree(1 - block);
});

test("reuses a block that nobody can hit first, and of the others the one freed first", () => {
  const pool = new BlockPool(4);
  for (let count = 0; count < 4; count += 1) pool.take();
  pool.release(2, true);
  pool.release(0, true);
  pool.release(3, false);
  expect([pool.take(), pool.take(), pool.take()]).toEqual([3, 2, 0]);
});

test("keeps a block until its last holder lets go, and takes it back out of the free list on a hit", () => {
  const pool = new BlockPool(2);
  const block = pool.take();
  pool.retain(block);
  pool.release(block, true);
  expect(pool.numFree).toBe(1);
  pool.release(block, true);
  expect(pool.numFree).toBe(2);
  expect(() => pool.release(block, true)).toThrow("released while free");
  pool.retain(block);
  expect(pool.numFree).toBe(1);
  expect(pool.take()).not.toBe(block);
});

test("behaves as a list and a count per block under any sequence of operations", () => {
  const operation = fc.record({
    kind: fc.constantFrom("take", "retain", "release", "touch"),
    pick: fc.nat(1000),
    mayBeHit: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(operation, { maxLength: 80 }),
      (numBlocks, operations) => {
        const pool = new BlockPool(numBlocks);
        let free = Array.from({ length: numBlocks }, (_, block) => block);
        const counts = Array.from({ length: numBlocks }, () => 0);
        for (const { kind, pick, mayBeHit } of operations) {
          const block = pick % numBlocks;
          if (kind === "take") {
            const expected = free.shift() ?? -1;
            expect(pool.take()).toBe(expected);
            if (expected !== -1) counts[expected] = 1;
          } else if (kind === "retain") {
            pool.retain(block);
            free = free.filter((other) => other !== block);
            counts[block]! += 1;
          } else if (kind === "touch") {
            pool.touch(block);
            if (counts[block] === 0) free = [...free.filter((other) => other !== block), block];
          } else if (counts[block]! > 0) {
            pool.release(block, mayBeHit);
            counts[block]! -= 1;
            if (counts[block] === 0) free = mayBeHit ? [...free, block] : [block, ...free];
          }
          pool.check();
          expect(pool.numFree).toBe(free.length);
          expect(pool.refCount(block)).toBe(counts[block]);
        }
      },
    ),
    { numRuns: 1000 },
  );
});
