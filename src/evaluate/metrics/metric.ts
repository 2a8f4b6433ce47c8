import { mean, standardError, sum } from "../statistics.ts";
import { bootstrapError } from "./bootstrap.ts";

/**
 * A value of one document: a number, [log-likelihood, weight], [right class, chosen class], [right class, probability of
 * each], or a verdict on each part of it.
 */
export type Score =
  | number
  | readonly [number, number]
  | readonly [gold: number, probabilities: readonly number[]]
  | readonly boolean[];

/** Values of one document by metric. */
export type Scores = Readonly<Record<string, Score>>;

/** From the values of all documents to the figure that is reported. */
export interface Aggregation {
  /** lm-eval's name, which result files give. */
  readonly name: string;
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
  name: "mean",
  value: (scores) => mean(scores as number[]),
  standardError: (scores) => standardError(scores as number[]),
};

/** exp(−mean); the error comes from resampling, as in lm-eval. */
const perplexityOfNumbers: Aggregation = {
  name: "perplexity",
  value: (scores) => Math.exp(-mean(scores as number[])),
  standardError: (scores, numResamples) =>
    bootstrapError(scores as number[], (value) => Math.exp(-value), numResamples),
};

/** Over the verdicts of all documents together. */
const meanOfVerdicts: Aggregation = {
  name: "agg_inst_level_acc",
  value: (scores) => mean((scores as boolean[][]).flat().map(Number)),
  standardError: () => null,
};

/** exp(−Σ log-likelihood / Σ weight), the weights being words or bytes. */
const weightedPerplexity: Aggregation = {
  name: "weighted_perplexity",
  value: (scores) => Math.exp(-meanPerWeight(scores as [number, number][])),
  standardError: () => null,
};

const bitsPerByte: Aggregation = {
  name: "bits_per_byte",
  value: (scores) => -meanPerWeight(scores as [number, number][]) / Math.LN2,
  standardError: () => null,
};

function meanPerWeight(values: readonly (readonly [number, number])[]): number {
  return sum(values.map(([logLikelihood]) => logLikelihood)) / sum(values.map(([, weight]) => weight));
}

/** Those of single values, of which a mean or a sum is formed. */
export const plainAggregations: readonly Aggregation[] = [
  meanOfNumbers,
  perplexityOfNumbers,
  weightedPerplexity,
  bitsPerByte,
  meanOfVerdicts,
];

/** The metric of a name, whose figure is formed by the aggregation of a name. */
function define(name: string, aggregation: Aggregation, higherIsBetter: boolean): MetricDefinition {
  return { name, higherIsBetter, aggregation };
}

/** Mean over the verdicts of all documents together. */
export function shareOfVerdicts(name: string): MetricDefinition {
  return define(name, meanOfVerdicts, true);
}

/** Mean over documents, higher is better. */
export function share(name: string): MetricDefinition {
  return define(name, meanOfNumbers, true);
}

/** exp(−mean log-likelihood of a document). */
export function perplexity(name: string): MetricDefinition {
  return define(name, perplexityOfNumbers, false);
}

/** The metrics of rolling log-likelihoods, formed over all documents together. */
export const perplexities: readonly MetricDefinition[] = [
  define("word_perplexity", weightedPerplexity, false),
  define("byte_perplexity", weightedPerplexity, false),
  define("bits_per_byte", bitsPerByte, false),
];
