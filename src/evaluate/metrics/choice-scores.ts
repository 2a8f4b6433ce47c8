import { numCodePoints } from "../python-text.ts";
import type { Likelihood } from "../requests/model-request.ts";
import type { ChoiceQuestion } from "../task.ts";
import { softmax } from "./classification.ts";
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

/**
 * Every metric that a choice task of lm-eval can name; the task picks. Of several right choices each counts.
 *
 * @param asked likelihoods of the choices, and behind them, for `acc_mutual_info`, those without a context
 */
export function scoreChoices(question: ChoiceQuestion, asked: readonly Likelihood[]): Scores {
  const { choices, gold, golds = [gold] } = question;
  const sums = asked.slice(0, choices.length).map(({ logLikelihood }) => logLikelihood);
  const alone = asked.slice(choices.length);
  const isRight = (values: readonly number[]): number => (golds.includes(argmax(values)) ? 1 : 0);
  return {
    acc: isRight(sums),
    acc_norm: isRight(sums.map((value, i) => value / numCodePoints(choices[i]!))),
    acc_bytes: isRight(sums.map((value, i) => value / Buffer.byteLength(choices[i]!))),
    exact_match: golds.some((index) => asked[index]!.isGreedy) ? 1 : 0,
    f1: [gold, argmax(sums)],
    mcc: [gold, argmax(sums)],
    brier_score: [gold, softmax(sums)],
    ...(alone.length === 0
      ? {}
      : { acc_mutual_info: isRight(sums.map((value, i) => value - alone[i]!.logLikelihood)) }),
  };
}

function argmax(values: readonly number[]): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}
