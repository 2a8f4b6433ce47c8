import { mean, sum } from "../statistics.ts";
import { bootstrapFigures, sampleDeviation } from "./bootstrap.ts";
import type { Aggregation, MetricDefinition, Score } from "./metric.ts";

type Predicted = readonly [gold: number, predicted: number];
type Probable = readonly [gold: number, probabilities: readonly number[]];

/** F1 of class 1 of two, as scikit-learn's `f1_score`; 0 where class 1 neither is nor is predicted. */
function f1Of(pairs: readonly Predicted[]): number {
  let numBoth = 0;
  let numNamed = 0;
  for (const [gold, predicted] of pairs) {
    if (gold === 1 && predicted === 1) numBoth += 1;
    numNamed += Number(gold === 1) + Number(predicted === 1);
  }
  return numNamed === 0 ? 0 : (2 * numBoth) / numNamed;
}

/** Matthews' correlation over any number of classes (Gorodkin 2004), as scikit-learn's; 0 where it is not defined. */
function correlationOf(pairs: readonly Predicted[]): number {
  const golds: number[] = [];
  const predictions: number[] = [];
  let numRight = 0;
  for (const [gold, predicted] of pairs) {
    golds[gold] = (golds[gold] ?? 0) + 1;
    predictions[predicted] = (predictions[predicted] ?? 0) + 1;
    if (gold === predicted) numRight += 1;
  }
  const all = pairs.length ** 2;
  const spread = (all - product(golds, golds)) * (all - product(predictions, predictions));
  return spread === 0 ? 0 : (numRight * pairs.length - product(golds, predictions)) / Math.sqrt(spread);
}

/** Of counts by class; a class that is not there counts 0. */
function product(a: readonly number[], b: readonly number[]): number {
  let total = 0;
  for (let i = 0; i < a.length; i += 1) total += (a[i] ?? 0) * (b[i] ?? 0);
  return total;
}

/** Mean over documents of the squared distance between the probabilities of the choices and the right one (Brier 1950). */
function brierOf(documents: readonly Probable[]): number {
  return mean(
    documents.map(([gold, probabilities]) =>
      sum(probabilities.map((probability, i) => (probability - Number(i === gold)) ** 2)),
    ),
  );
}

/** Of a statistic of all pairs; the error comes from resampling, as in lm-eval. */
function ofPairs(name: string, statistic: (pairs: readonly Predicted[]) => number): Aggregation {
  return {
    name,
    value: (scores) => statistic(scores as Predicted[]),
    standardError: (scores, numResamples) =>
      sampleDeviation(bootstrapFigures(scores as Predicted[], statistic, numResamples)),
  };
}

const f1: MetricDefinition = { name: "f1", higherIsBetter: true, aggregation: ofPairs("f1", f1Of) };

const correlation: MetricDefinition = {
  name: "mcc",
  higherIsBetter: true,
  aggregation: ofPairs("matthews_corrcoef", correlationOf),
};

const brier: MetricDefinition = {
  name: "brier_score",
  higherIsBetter: false,
  aggregation: {
    name: "brier_score",
    value: (scores: readonly Score[]) => brierOf(scores as unknown as Probable[]),
    standardError: () => null,
  },
};

/** Metrics of the classes that choices are. */
export const classMetrics: readonly MetricDefinition[] = [f1, correlation, brier];

/** Probabilities of choices, from log-likelihoods. */
export function softmax(logLikelihoods: readonly number[]): number[] {
  const highest = Math.max(...logLikelihoods);
  const weights = logLikelihoods.map((value) => Math.exp(value - highest));
  const total = sum(weights);
  return weights.map((weight) => weight / total);
}
