import { numCodePoints } from "../python-text.ts";
import type { Likelihood } from "../requests/model-request.ts";
import type { ChoiceQuestion } from "../task.ts";
import { type MetricDefinition, type Scores, share } from "./metric.ts";

export const acc: MetricDefinition = share("acc");
export const accNorm: MetricDefinition = share("acc_norm");

/** Which choice wins; the first of equal ones. */
export function bestChoice(likelihoods: readonly Likelihood[]): number {
  return argmax(likelihoods.map(({ logLikelihood }) => logLikelihood));
}

/** `acc`: the choice with the highest log-likelihood is the right one. */
export function scoreAcc({ gold }: ChoiceQuestion, likelihoods: readonly Likelihood[]): Scores {
  return { acc: bestChoice(likelihoods) === gold ? 1 : 0 };
}

/** `acc`, and `acc_norm`: the same after division by the choice's length in Unicode code points. */
export function scoreAccAndNorm(question: ChoiceQuestion, likelihoods: readonly Likelihood[]): Scores {
  const perCharacter = likelihoods.map(
    ({ logLikelihood }, i) => logLikelihood / numCodePoints(question.choices[i]!),
  );
  return {
    ...scoreAcc(question, likelihoods),
    acc_norm: argmax(perCharacter) === question.gold ? 1 : 0,
  };
}

/** Every metric that a choice task of lm-eval can name; the task picks. */
export function scoreChoices(question: ChoiceQuestion, likelihoods: readonly Likelihood[]): Scores {
  const perByte = likelihoods.map(
    ({ logLikelihood }, i) => logLikelihood / Buffer.byteLength(question.choices[i]!),
  );
  return {
    ...scoreAccAndNorm(question, likelihoods),
    acc_bytes: argmax(perByte) === question.gold ? 1 : 0,
    exact_match: likelihoods[question.gold]!.isGreedy ? 1 : 0,
  };
}

function argmax(values: readonly number[]): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}
