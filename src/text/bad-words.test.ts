import { expect, test } from "vitest";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { encodeBadWords } from "./bad-words.ts";

/** Longest match first, as a vocabulary with and without leading spaces would have it. */
const vocabulary = ["tree", " tree", "house", " ", "boat", " boat", "s", " ship", "hip"];

function encode(text: string): number[] {
  const ids: number[] = [];
  for (let rest = text; rest !== ""; ) {
    const best = vocabulary.filter((token) => rest.startsWith(token)).sort((a, b) => b.length - a.length)[0];
    if (best === undefined) throw new Error(`no token for ${rest}`);
    ids.push(vocabulary.indexOf(best));
    rest = rest.slice(best.length);
  }
  return ids;
}

const tokenizer = { encode } as unknown as Tokenizer;

test("bans a word at the beginning and behind a space, once where one form bans the other", () => {
  expect(encodeBadWords(["tree"], tokenizer)).toEqual([[0], [1]]);
  expect(encodeBadWords(["  tree", "boats"], tokenizer)).toEqual([[0], [1], [4, 6], [5, 6]]);
  // " house" is a space and the same token: banning the token already bans it.
  expect(encodeBadWords(["house"], tokenizer)).toEqual([[2]]);
  // "ship" alone has two tokens, and one with its space.
  expect(encodeBadWords(["ship"], tokenizer)).toEqual([[6, 8], [7]]);
  expect(encodeBadWords([], tokenizer)).toEqual([]);
});

test("refuses words without a token, naming which", () => {
  for (const word of ["", "   "]) {
    expect(() => encodeBadWords(["tree", word], tokenizer)).toThrow(
      expect.objectContaining({ code: "invalid_request", param: "bad_words[1]" }),
    );
  }
});
