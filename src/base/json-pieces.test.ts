import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonPieces } from "./json-pieces.ts";

test("gives in pieces what JSON.stringify gives", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect([...jsonPieces(value)].join("")).toBe(JSON.stringify(value, null, 2));
    }),
  );
});

test("leaves out what is undefined, and writes what is no number as null", () => {
  const value = { a: undefined, b: [undefined, Number.NaN, [], {}], c: { d: undefined } };
  expect([...jsonPieces(value)].join("")).toBe(JSON.stringify(value, null, 2));
});

test("no piece holds a long array", () => {
  const pieces = [...jsonPieces({ values: Array.from({ length: 1000 }, (_, index) => index) })];
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(20);
});
