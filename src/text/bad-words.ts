import { MillraceError } from "../base/errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/**
 * The token sequences of words that must not be generated, for `SamplingParams.badWords`. Each word counts at the
 * beginning of a text and, with a space before it, within one; the second form is left out where it begins with the
 * same token or has another number of tokens (vLLM's rule). Errors: `invalid_request` for a word without a token.
 */
export function encodeBadWords(words: readonly string[], tokenizer: Tokenizer): number[][] {
  return words.flatMap((word, index) => {
    const bare = word.trimStart();
    const first = tokenizer.encode(bare, { addSpecialTokens: false });
    if (first.length === 0) throw emptyWord(index, word);
    const spaced = tokenizer.encode(` ${bare}`, { addSpecialTokens: false });
    const isOther = spaced.length === first.length && spaced[0] !== first[0];
    return isOther ? [first, spaced] : [first];
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
