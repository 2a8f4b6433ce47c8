import { splitOnSpace, stripEnd } from "../python-text.ts";
import { countNgrams } from "./ngrams.ts";

const maxOrder = 4;

/** sacrebleu's "intl" tokenisation: punctuation that is not between digits, and every symbol, stand alone. */
function tokenize(text: string): string[] {
  return splitOnSpace(
    stripEnd(text)
      .replace(/(\P{N})(\p{P})/gu, "$1 $2 ")
      .replace(/(\p{P})(\P{N})/gu, " $1 $2")
      .replace(/(\p{S})/gu, " $1 "),
  ).filter((token) => token !== "");
}

/**
 * BLEU of one text against one reference, 0 to 100 (Papineni et al. 2002), with sacrebleu's settings of lm-eval's
 * TruthfulQA: orders 1 to 4, "intl" tokens, exponential smoothing of orders without a match (Chen and Cherry 2014,
 * method 3).
 */
export function bleu(reference: string, text: string): number {
  const [wanted, given] = [tokenize(reference), tokenize(text)];
  let logSum = 0;
  let smoothing = 1;
  let hasMatch = false;
  let isShort = false;
  for (let order = 1; order <= maxOrder; order += 1) {
    const total = Math.max(0, given.length - order + 1);
    isShort ||= total === 0;
    if (isShort) continue;
    const known = countNgrams(wanted, order);
    let correct = 0;
    for (const [ngram, count] of countNgrams(given, order)) correct += Math.min(count, known.get(ngram) ?? 0);
    hasMatch ||= correct > 0;
    if (correct === 0) smoothing *= 2;
    logSum += Math.log(correct === 0 ? 100 / (smoothing * total) : (100 * correct) / total);
  }
  // A text of fewer than four tokens has no precision of every order, and sacrebleu then gives (nearly) nothing.
  if (!hasMatch || isShort) return 0;
  const brevity = given.length < wanted.length ? Math.exp(1 - wanted.length / given.length) : 1;
  return brevity * Math.exp(logSum / maxOrder);
}
