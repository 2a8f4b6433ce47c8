import { MillraceError } from "../base/errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/**
 * The token sequences of words that must not be generated, for `SamplingParams.badWords`. Each word counts at the
 * beginning of a text and, with a space before it, within one; the second form is left out where it ends in the
 * tokens of the first, which bans it already. Errors: `invalid_request` for a word without a token.
 *
 * Why not vLLM's rule, which drops the second form where it has another number of tokens: a word whose usual form is
 * one token, but two without its space, would come through.
 */
export function encodeBadWords(words: readonly string[], tokenizer: Tokenizer): number[][] {
  return words.flatMap((word, index) => {
    const bare = word.trimStart();
    const first = tokenizer.encode(bare, { addSpecialTokens: false });
    if (first.length === 0) throw emptyWord(index, word);
    const spaced = tokenizer.encode(` ${bare}`, { addSpecialTokens: false });
    const end = spaced.slice(-first.length);
    const isBanned = first.every((id, at) => id === end[at]);
    return isBanned ? [first] : [first, spaced];
  });
}

function emptyWord(index: number, word: string): MillraceError {
  const param = `bad_words[${index}]`;
  return new MillraceError(
    "invalid_request",
    `The field ${param} is ${JSON.stringify(word.slice(0, 40))}; it must hold at least one token besides leading space. ` +
      "Change this field or leave the word out.",
    { param },
  );
}
