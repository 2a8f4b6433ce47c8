import { studentQuantile } from "../../base/quantiles.ts";
import type { RequestRecord } from "../../records/bench.ts";
import type { LoadFigures } from "../../records/load-figures.ts";
import { e2eOf, tokensOf } from "../slices.ts";

/** Requests of a batch at least: single ones are too noisy to find a point between them (MSER-5). */
const minBatch = 5;
/** Batches behind the cut. Of fewer, the spread is known so badly that noise alone looks like a warm-up. */
const minRest = 5;
/**
 * The start is slower where it is so many half-widths of a 95 % interval off the rest: more than one, because the cut is
 * the best of several and the spread behind it therefore too small. Chosen so that noise of 10 to 40 % gives a false
 * alarm in less than 5 % of stages.
 */
const minHalfWidths = 1.6;
/** … and slower by so much of the later mean: less is no warm-up that anybody has to wait for. */
const minShare = 0.1;

/**
 * Finds the requests that came before the stage was steady: the cut in its first half that makes the standard error of
 * the rest least (MSER-5: White 1997, "An effective truncation heuristic for bias reduction in simulation output"), where
 * what lies before it is slower. The figure looked at is end-to-end time per output token, in order of start. A start that
 * is faster than the rest is no warm-up: a queue that grows looks so.
 *
 * @param usersAtOnce requests that rise and fall together: a batch holds as many, so that batches are independent
 */
export function warmupOf(good: readonly RequestRecord[], usersAtOnce: number): LoadFigures["warmup"] {
  const batchSize = Math.max(minBatch, usersAtOnce);
  const byStart = good.toSorted((a, b) => a.sentMs - b.sentMs);
  const perToken = byStart.map((record) => e2eOf(record) / Math.max(1, tokensOf(record)));
  const batches = batchMeans(perToken, batchSize);
  const cut = cutOf(batches);
  if (cut === 0) return { numRequests: 0, endMs: 0 };
  const before = momentsOf(batches.slice(0, cut));
  const rest = momentsOf(batches.slice(cut));
  const numRest = batches.length - cut;
  const halfWidth = studentQuantile(numRest - 1) * Math.sqrt(rest.variance * (1 / cut + 1 / numRest));
  const slower = before.mean - rest.mean;
  if (slower <= minHalfWidths * halfWidth || slower <= minShare * rest.mean)
    return { numRequests: 0, endMs: 0 };
  const numRequests = cut * batchSize;
  const endMs = byStart.slice(0, numRequests).reduce((latest, { endMs }) => Math.max(latest, endMs), 0);
  return { numRequests, endMs };
}

/** Batches before the rest with the least standard error; the earliest of equal ones. */
function cutOf(batches: readonly number[]): number {
  const last = Math.min(Math.floor(batches.length / 2), batches.length - minRest);
  let [cut, least] = [0, Number.POSITIVE_INFINITY];
  // One way through from the end (Welford 1962): a stage may have tens of thousands of batches.
  let [mean, squares] = [0, 0];
  for (let start = batches.length - 1; start >= 0; start -= 1) {
    const count = batches.length - start;
    const off = batches[start]! - mean;
    mean += off / count;
    squares += off * (batches[start]! - mean);
    const error = squares / (count - 1) / count;
    if (start <= last && error <= least) [cut, least] = [start, error];
  }
  return cut;
}

/** Means of whole batches; what is left over at the end is left out. */
function batchMeans(values: readonly number[], batchSize: number): number[] {
  return Array.from({ length: Math.floor(values.length / batchSize) }, (_, batch) =>
    values.slice(batch * batchSize, (batch + 1) * batchSize).reduce((sum, each) => sum + each / batchSize, 0),
  );
}

/** Mean and sample variance (n − 1). */
function momentsOf(values: readonly number[]): { readonly mean: number; readonly variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    mean,
    variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1),
  };
}
