import { expect, test } from "vitest";
import { type Answer, firstDifference } from "./answer.ts";

const given: Answer = {
  tokenIds: [5, 6],
  logprobs: [1, 0xbf800000, 1, 0xbf800001],
  end: "length null",
  numCachedTokens: 0,
  trace: {} as Answer["trace"],
};

test("one other token, one other bit, a missing token and another end are all differences", () => {
  expect(firstDifference(given, { ...given, numCachedTokens: 3 })).toBeNull();
  expect(firstDifference(given, { ...given, tokenIds: [5, 7] })).toMatch("tokenIds[1]");
  expect(firstDifference(given, { ...given, tokenIds: [5] })).toMatch("tokenIds[1]");
  expect(firstDifference(given, { ...given, tokenIds: [5, 6, 6] })).toMatch("tokenIds[2]");
  expect(firstDifference(given, { ...given, logprobs: [1, 0xbf800000, 1, 0xbf800000] })).toMatch(
    "logprobs[3]",
  );
  expect(firstDifference(given, { ...given, end: "stop null" })).toMatch('"stop null"');
});
