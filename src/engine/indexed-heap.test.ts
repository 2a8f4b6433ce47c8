import assert from "node:assert/strict";
import fc from "fast-check";
import { expect, test } from "vitest";
import { IndexedHeap } from "./indexed-heap.ts";

const capacity = 12;

test("its first item is the smallest after any adding, removing and moving", () => {
  const action = fc.record({
    kind: fc.constantFrom("add", "remove", "move"),
    item: fc.nat(capacity - 1),
    key: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const keys = new Int32Array(capacity);
      const isBefore = (a: number, b: number): boolean => (keys[a]! - keys[b]! || a - b) < 0;
      const heap = new IndexedHeap(capacity, isBefore);
      const members = new Set<number>();
      for (const { kind, item, key } of actions) {
        if (kind === "add" && !members.has(item)) {
          keys[item] = key;
          heap.add(item);
          members.add(item);
        } else if (kind === "remove" && members.has(item)) {
          heap.remove(item);
          members.delete(item);
        } else if (kind === "move" && members.has(item)) {
          keys[item] = key;
          heap.moved(item);
        }
        const smallest = [...members].toSorted((a, b) => (isBefore(a, b) ? -1 : 1))[0] ?? -1;
        assert.equal(heap.first, smallest);
        assert.equal(heap.size, members.size);
        assert.equal(heap.has(item), members.has(item));
      }
    }),
  );
});

test("an item is in it at most once", () => {
  const heap = new IndexedHeap(2, (a, b) => a < b);
  heap.add(1);
  expect(() => heap.add(1)).toThrow("already in the heap");
  expect(() => heap.remove(0)).toThrow("not in the heap");
});
