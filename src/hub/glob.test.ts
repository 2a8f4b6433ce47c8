import { expect, test } from "vitest";
import { globMatcher } from "./glob.ts";

test.each([
  ["data/*.csv", ["data/a.csv", "data/.csv"], ["data/x/a.csv", "data/a.csv.gz", "adata/a.csv"]],
  ["**/a.csv", ["a.csv", "x/a.csv", "x/y/a.csv"], ["xa.csv", "x/ya.csv"]],
  ["x/**", ["x/", "x/a/b"], ["x", "y/x/a"]],
  ["x**y", ["xy", "xzy"], ["x/y"]],
  ["a?[b-d!]", ["azb", "azc", "a!!"], ["a/b", "aze", "az"]],
  ["[!a-c]x", ["dx"], ["ax", "x"]],
  ["a.[", ["a.["], ["ab["]],
])("%s matches %j and not %j", (glob, found, others) => {
  const matches = globMatcher(glob);
  expect([...found, ...others].filter(matches)).toEqual(found);
});

test("many stars over a long name come to an end", () => {
  expect(globMatcher(`${"*a".repeat(30)}b`)("a".repeat(5000))).toBe(false);
});
