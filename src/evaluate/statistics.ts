import { invariant } from "../base/invariant.ts";

/** Plain sum from the first to the last, as Python added floats up to 3.11: lm-eval's recorded digits are those. */
export function sum(values: readonly number[]): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

export function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

/** Standard error of the mean with the sample deviation (n − 1); null for fewer than two values. */
export function standardError(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const center = mean(values);
  const squares = sum(values.map((value) => (value - center) ** 2));
  return Math.sqrt(squares / (values.length - 1)) / Math.sqrt(values.length);
}

/** Σ value · weight / Σ weight. */
export function weightedMean(values: readonly number[], weights: readonly number[]): number {
  return sum(values.map((value, i) => value * weights[i]!)) / sum(weights);
}

/** Standard error of a mean over several groups of documents from the groups' own, as lm-eval pools them. */
export function pooledError(errors: readonly number[], sizes: readonly number[]): number {
  const total = sum(sizes);
  const squares = sum(errors.map((error, i) => (sizes[i]! - 1) * error ** 2 * sizes[i]!));
  return Math.sqrt(squares / (total - sizes.length) / total);
}

/**
 * Two-sided exact p-value of McNemar's test: of `lost + gained` pairs that differ, each side is as likely as the
 * other under equality (binomial with ½).
 */
export function mcnemarExact(lost: number, gained: number): number {
  const total = lost + gained;
  const fewer = Math.min(lost, gained);
  let logTerm = -total * Math.LN2;
  let tail = 0;
  for (let i = 0; i <= fewer; i += 1) {
    tail += Math.exp(logTerm);
    logTerm += Math.log((total - i) / (i + 1));
  }
  return Math.min(1, 2 * tail);
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** How a statistic varies over resamples. */
export interface ResampledStatistic {
  /** 95 %, by percentiles; null where some resample has no value. */
  readonly interval: Interval | null;
  /** Sample deviation of the resamples: the bootstrap's standard error. Null likewise. */
  readonly deviation: number | null;
}

/**
 * Several statistics of the same resampled rows. Rows are drawn with replacement inside each stratum; the same rows give the
 * same figures.
 *
 * @param strata number of rows of each, at least one
 * @param statistics gives its values for row numbers inside each stratum; a value that is not finite is none
 */
export function bootstrap(
  strata: readonly number[],
  statistics: (rows: readonly Int32Array[]) => readonly number[],
  numResamples = 2000,
): ResampledStatistic[] {
  invariant(
    strata.length > 0 && strata.every((size) => size > 0) && numResamples > 1,
    "there is something to resample",
  );
  const draw = mulberry32(0x6d696c6c);
  const rows = strata.map((size) => new Int32Array(size));
  const values: number[][] = [];
  for (let resample = 0; resample < numResamples; resample += 1) {
    for (const stratum of rows) {
      for (let i = 0; i < stratum.length; i += 1) stratum[i] = Math.floor(draw() * stratum.length);
    }
    for (const [at, value] of statistics(rows).entries()) (values[at] ??= []).push(value);
  }
  return values.map((each) => {
    if (!each.every(Number.isFinite)) return { interval: null, deviation: null };
    const center = mean(each);
    const deviation = Math.sqrt(sum(each.map((value) => (value - center) ** 2)) / (each.length - 1));
    each.sort((x, y) => x - y);
    return { interval: { low: quantile(each, 0.025), high: quantile(each, 0.975) }, deviation };
  });
}

/** Of ascending values, linear between two of them (the usual default, R's type 7). */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const low = sorted[below] ?? NaN;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? NaN;
  return low + (high - low) * (at - below);
}

/** Small generator with 32 bits of state (Ettinger's mulberry32): resampling needs speed, not secrecy. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 4294967296;
  };
}
