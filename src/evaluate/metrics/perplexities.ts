import { splitOnSpace } from "../python-text.ts";
import type { TextQuestion } from "../task.ts";
import type { Scores } from "./metric.ts";

/** What a rolling log-likelihood says per word and per byte of the texts as they were before any clean-up. */
export function scorePerplexities({ countedText }: TextQuestion, logLikelihood: number): Scores {
  const words = splitOnSpace(countedText).length;
  const bytes = Buffer.byteLength(countedText);
  return {
    word_perplexity: [logLikelihood, words],
    byte_perplexity: [logLikelihood, bytes],
    bits_per_byte: [logLikelihood, bytes],
  };
}
