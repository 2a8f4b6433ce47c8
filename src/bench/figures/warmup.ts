import type { RequestRecord } from "../../records/bench.ts";
import type { LoadFigures } from "../../records/load-figures.ts";
import { e2eOf, tokensOf } from "../slices.ts";

/** Requests of a batch: single ones are too noisy to find a point between them (MSER-5). */
const batchSize = 5;
/** The start differs where its mean is so many standard deviations of later batches off, … */
const minDeviations = 3;
/** … and by so much of the later mean: a difference that small is no warm-up that anybody has to wait for. */
const minShare = 0.1;

/**
 * Finds the requests that came before the stage was steady: the cut in its first half that makes the standard error of
 * the rest least (MSER-5: White 1997, "An effective truncation heuristic for bias reduction in simulation output"), where
 * what lies before it does differ. The figure looked at is end-to-end time per output token, in order of start.
 */
export function warmupOf(good: readonly RequestRecord[]): LoadFigures["warmup"] {
  const byStart = good.toSorted((a, b) => a.sentMs - b.sentMs);
  const batches = batchMeans(byStart.map((record) => e2eOf(record) / Math.max(1, tokensOf(record))));
  let [cut, least] = [0, Number.POSITIVE_INFINITY];
  for (let start = 0; start <= batches.length / 2; start += 1) {
    const rest = momentsOf(batches.slice(start));
    const error = rest.variance / (batches.length - start);
    if (error < least) [cut, least] = [start, error];
  }
  const before = momentsOf(batches.slice(0, cut));
  const rest = momentsOf(batches.slice(cut));
  const off = Math.abs(before.mean - rest.mean);
  const differs = off > minDeviations * Math.sqrt(rest.variance) && off > minShare * rest.mean;
  if (cut === 0 || !differs) return { numRequests: 0, endMs: 0 };
  const numRequests = cut * batchSize;
  return { numRequests, endMs: Math.max(...byStart.slice(0, numRequests).map(({ endMs }) => endMs)) };
}

/** Means of whole batches; what is left over at the end is left out. */
function batchMeans(values: readonly number[]): number[] {
  return Array.from({ length: Math.floor(values.length / batchSize) }, (_, batch) =>
    values.slice(batch * batchSize, (batch + 1) * batchSize).reduce((sum, each) => sum + each / batchSize, 0),
  );
}

function momentsOf(values: readonly number[]): { readonly mean: number; readonly variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length };
}
