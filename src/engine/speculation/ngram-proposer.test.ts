import fc from "fast-check";
import { expect, test } from "vitest";
import { findContinuation } from "./ngram-proposer.ts";

const find = (ids: number[]): number => findContinuation(Int32Array.from(ids), ids.length);

test("continues the latest place of the longest match", () => {
  expect(find([1, 2, 3, 9, 1, 2, 3, 7, 5, 1, 2, 3])).toBe(7);
  expect(find([8, 1, 2, 3, 9, 7, 2, 3, 6, 8, 1, 2, 3])).toBe(4);
});

test("finds nothing in a text without a repeated pair", () => {
  expect(find([1, 2, 3, 2])).toBe(-1);
  expect(find([5])).toBe(-1);
});

test("a found place follows the last two tokens, and no place of a longer match is passed over", () => {
  const matchLength = (ids: number[], place: number): number => {
    let length = 0;
    while (length < 4 && place - 1 - length >= 0 && ids[place - 1 - length] === ids[ids.length - 1 - length])
      length += 1;
    return length;
  };
  fc.assert(
    fc.property(fc.array(fc.nat(2), { minLength: 1, maxLength: 40 }), (ids) => {
      const place = find(ids);
      const lengths = ids.map((_, other) => (other === 0 ? 0 : matchLength(ids, other)));
      const longest = Math.max(...lengths);
      if (place === -1) expect(longest).toBeLessThan(2);
      else expect(lengths[place]).toBe(longest);
    }),
  );
});
