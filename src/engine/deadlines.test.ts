import assert from "node:assert/strict";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Deadlines } from "./deadlines.ts";

test("tells each row once, as soon as its time has come, the earliest first", () => {
  const steps = fc.array(fc.record({ row: fc.nat(9), timeMs: fc.nat(100), isCleared: fc.boolean() }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, (history) => {
      const deadlines = new Deadlines(10);
      const expected = new Map<number, number>();
      const into = new Int32Array(10);
      for (const [nowMs, { row, timeMs, isCleared }] of history.entries()) {
        deadlines.clear(row);
        expected.delete(row);
        if (!isCleared) {
          deadlines.set(row, timeMs);
          expected.set(row, timeMs);
        }
        const count = deadlines.expired(nowMs, into);
        const told = Array.from(into.subarray(0, count));
        const times = told.map((each) => expected.get(each)!);
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b),
        );
        const passed = [...expected].filter(([, time]) => time <= nowMs).map(([each]) => each);
        assert.deepEqual(
          told.toSorted((a, b) => a - b),
          passed.toSorted((a, b) => a - b),
        );
        for (const each of told) expected.delete(each);
        assert.equal(deadlines.size, expected.size);
        assert.equal(deadlines.nextMs, Math.min(...expected.values()));
      }
    }),
  );
});

test("what does not fit into the array comes with the next call", () => {
  const deadlines = new Deadlines(3);
  for (let row = 0; row < 3; row += 1) deadlines.set(row, 10 - row);
  const into = new Int32Array(2);
  expect(deadlines.expired(10, into)).toBe(2);
  expect(Array.from(into)).toEqual([2, 1]);
  expect(deadlines.expired(10, into)).toBe(1);
  expect(into[0]).toBe(0);
  expect(deadlines.nextMs).toBe(Infinity);
});
