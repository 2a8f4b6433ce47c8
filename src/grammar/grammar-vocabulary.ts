import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { GrammarVocabulary } from "./grammar-messages.ts";

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
    return Buffer.from(tokenizer.tokenBytes(id) ?? []).toString("latin1");
  });
  return { tokens, endTokenIds };
}
