import type { ScoreRequest, ScoreResult } from "../protocol/engine-client.ts";
import { numCodePoints, splitOnSpace } from "./python-text.ts";
import type { ChoiceDocument, TextDocument } from "./task.ts";

/** Log-likelihood of a continuation, and whether greedy decoding would give it. */
export interface Likelihood {
  readonly logLikelihood: number;
  readonly isGreedy: boolean;
}

/** Adds up a score result in f64, in order. */
export function toLikelihood(request: ScoreRequest, result: ScoreResult): Likelihood {
  let logLikelihood = 0;
  let isGreedy = true;
  for (const [i, logprob] of result.logprobs.entries()) {
    logLikelihood += logprob;
    isGreedy &&= result.argmax[i] === request.tokenIds[request.start + i];
  }
  return { logLikelihood, isGreedy };
}

/**
 * `acc`: the answer with the highest log-likelihood is the right one. `acc_norm`: the same after division by the
 * answer's length in Unicode code points. The first of equal answers counts.
 */
export function choiceMetrics(
  document: ChoiceDocument,
  likelihoods: readonly Likelihood[],
): Record<string, number> {
  const plain = likelihoods.map((likelihood) => likelihood.logLikelihood);
  const normalized = plain.map((value, i) => value / numCodePoints(document.choices[i]!));
  return {
    acc: argmax(plain) === document.gold ? 1 : 0,
    acc_norm: argmax(normalized) === document.gold ? 1 : 0,
  };
}

/** [log-likelihood, number of words or bytes] for each of the three perplexity metrics. */
export function textMetrics(document: TextDocument, logLikelihood: number): Record<string, [number, number]> {
  const words = splitOnSpace(document.countedText).length;
  const bytes = Buffer.byteLength(document.countedText);
  return {
    word_perplexity: [logLikelihood, words],
    byte_perplexity: [logLikelihood, bytes],
    bits_per_byte: [logLikelihood, bytes],
  };
}

function argmax(values: readonly number[]): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}
