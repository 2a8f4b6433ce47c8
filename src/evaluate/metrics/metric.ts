import { mean, standardError, sum } from "../statistics.ts";
import { bootstrapError } from "./bootstrap.ts";

/** A value of one document: a number, [log-likelihood, weight], or a verdict on each part of it. */
export type Score = number | readonly [logLikelihood: number, weight: number] | readonly boolean[];

/** Values of one document by metric. */
export type Scores = Readonly<Record<string, Score>>;

/** From the values of all documents to the figure that is reported. */
export interface Aggregation {
  readonly value: (scores: readonly Score[]) => number;
  /** Null where the figure has no standard error. */
  readonly standardError: (scores: readonly Score[], numResamples: number) => number | null;
}

export interface MetricDefinition {
  readonly name: string;
  readonly higherIsBetter: boolean;
  readonly aggregation: Aggregation;
}

const meanOfNumbers: Aggregation = {
  value: (scores) => mean(scores as number[]),
  standardError: (scores) => standardError(scores as number[]),
};

/** exp(−mean); the error comes from resampling, as in lm-eval. */
const perplexityOfNumbers: Aggregation = {
  value: (scores) => Math.exp(-mean(scores as number[])),
  standardError: (scores, numResamples) =>
    bootstrapError(scores as number[], (value) => Math.exp(-value), numResamples),
};

const meanOfVerdicts: Aggregation = {
  value: (scores) => mean((scores as boolean[][]).flat().map(Number)),
  standardError: () => null,
};

/** Mean over the verdicts of all documents together. */
export function shareOfVerdicts(name: string): MetricDefinition {
  return { name, higherIsBetter: true, aggregation: meanOfVerdicts };
}

/** Mean over documents, higher is better. */
export function share(name: string): MetricDefinition {
  return { name, higherIsBetter: true, aggregation: meanOfNumbers };
}

/** exp(−mean log-likelihood of a document). */
export function perplexity(name: string): MetricDefinition {
  return { name, higherIsBetter: false, aggregation: perplexityOfNumbers };
}

/** Of the log-likelihood per weight (word or byte), formed over all documents together. */
export function perWeight(name: string, finish: (meanLogLikelihood: number) => number): MetricDefinition {
  const value = (scores: readonly Score[]): number => finish(weightedMean(scores as [number, number][]));
  return { name, higherIsBetter: false, aggregation: { value, standardError: () => null } };
}

function weightedMean(values: readonly (readonly [number, number])[]): number {
  return sum(values.map(([logLikelihood]) => logLikelihood)) / sum(values.map(([, weight]) => weight));
}
