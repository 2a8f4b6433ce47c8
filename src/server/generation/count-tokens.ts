import type { Tokenizer } from "../../tokenizer/tokenizer.ts";

/**
 * Tokens that a part of an answer has by itself. Counting those of the answer would make the figure depend on how tokens
 * came together.
 */
export function countTokens(tokenizer: Tokenizer, text: string): number {
  return text === "" ? 0 : tokenizer.encode(text, { addSpecialTokens: false }).length;
}
