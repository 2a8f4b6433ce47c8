import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PrefixIndex } from "./prefix-index.ts";

const index = new PrefixIndex(4, 2);
// Few characters, among them those that a plain joining of tags and values would trip over.
const texts = fc.string({ unit: fc.constantFrom("a", "b", '"', ",", ":", "\\", "\0"), maxLength: 4 });

test("equal bytes under different tags never give one key: a salt is no adapter", () => {
  fc.assert(
    fc.property(texts, texts, (value, tag) => {
      const salted = index.rootKey({ cacheSalt: value });
      for (const other of ["adapter", "request", `x${tag}`]) {
        expect(index.rootKey({ [other]: value })).not.toBe(salted);
      }
    }),
  );
});

test("keys are equal where all tags and values are, in whatever order they come", () => {
  const extras = fc.dictionary(texts, texts, { maxKeys: 3 });
  fc.assert(
    fc.property(extras, extras, (a, b) => {
      expect(index.rootKey(a) === index.rootKey(b)).toBe(isDeepStrictEqual({ ...a }, { ...b }));
      expect(index.rootKey(Object.fromEntries(Object.entries(a).toReversed()))).toBe(index.rootKey(a));
    }),
    { numRuns: 1000 },
  );
});

test("what is entered under one root is not found under another", () => {
  const ids = Int32Array.of(1, 2);
  const find = (extras: Record<string, string>): number =>
    index.find(index.childKey(index.rootKey(extras), ids, 0), ids, 0);
  const root = index.rootKey({ cacheSalt: "blue" });
  index.addFull(3, root, index.childKey(root, ids, 0), ids, 0);
  expect(find({ cacheSalt: "blue" })).toBe(3);
  for (const other of [{}, { adapter: "blue" }, { cacheSalt: "blue", adapter: "blue" }]) {
    expect(find(other)).toBe(-1);
  }
});
