import type { Tokenizer } from "../src/tokenizer/tokenizer.ts";

/** The id before all text: no character has it. */
export const prefixId = 0x110000;

/** A tokenizer whose tokens are Unicode code points, so that a scorer can tell which strings it was given. */
export function createCharacterTokenizer(): Tokenizer {
  const textOf = (id: number): string => (id === prefixId ? "" : String.fromCodePoint(id));
  return {
    vocabSize: prefixId + 1,
    bosTokenId: prefixId,
    eosTokenIds: [prefixId],
    encode: (text) => Array.from(text, (character) => character.codePointAt(0)!),
    decode: (ids) => ids.map(textOf).join(""),
    tokenBytes: (id) => new TextEncoder().encode(textOf(id)),
    tokenText: textOf,
    isSpecial: (id) => id === prefixId,
    chatTemplate: null,
    stream: () => ({ push: textOf, flush: () => "" }),
  };
}
