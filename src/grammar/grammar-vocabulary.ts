import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { GrammarVocabulary } from "./grammar-messages.ts";

/** GPT-2's table: printable Latin-1 bytes stand for themselves, the others for characters from U+0100 upwards. */
const characters: readonly string[] = byteCharacters();

function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(isPrintable ? byte : next++);
  });
}

/**
 * Every token as its bytes, whatever kind of tokenizer it comes from: special tokens are no text, and no grammar allows
 * them.
 *
 * @param vocabSize columns of the logits, which may be more than the tokenizer knows
 */
export function grammarVocabulary(
  tokenizer: Tokenizer,
  vocabSize: number,
  endTokenIds: readonly number[],
): Omit<GrammarVocabulary, "maxKept"> {
  const tokens = Array.from({ length: vocabSize }, (_, id) => {
    if (id >= tokenizer.vocabSize || tokenizer.isSpecial(id)) return "";
    return Array.from(tokenizer.tokenBytes(id) ?? [], (byte) => characters[byte]!).join("");
  });
  return { tokens, endTokenIds };
}
