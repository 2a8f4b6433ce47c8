import { expect, test } from "vitest";
import { philox4x32, uniformDraw } from "./philox.ts";

/** Known answers of the Random123 distribution (kat_vectors, philox4x32 10). */
const known = [
  { counter: [0, 0, 0, 0], key: [0, 0], words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
] as const;

test.each(known)("Philox gives the published words for key $key", ({ counter, key, words }) => {
  const state = Uint32Array.from(counter);
  philox4x32(state, key[0], key[1]);
  expect([...state]).toEqual(words);
});

test("a uniform draw lies in [0, 1), is repeatable and differs by output and sequence index", () => {
  const draws = Array.from({ length: 1000 }, (_, i) => uniformDraw(7, 9, i >> 2, i & 3));
  expect(draws.every((u) => u >= 0 && u < 1)).toBe(true);
  expect(new Set(draws).size).toBe(draws.length);
  expect(uniformDraw(7, 9, 5, 1)).toBe(draws[5 * 4 + 1]);
  expect(Math.abs(draws.reduce((a, b) => a + b, 0) / draws.length - 0.5)).toBeLessThan(0.05);
});
