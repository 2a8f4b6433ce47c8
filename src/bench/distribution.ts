import type { Distribution } from "../records/load-figures.ts";

/** Samples that a distribution-free one-sided 95 % bound of a percentile needs: smallest n with p^n ≤ 0.05. */
export const samplesNeeded = { p90: 29, p95: 59, p99: 299 } as const;

/** Samples that its two-sided 95 % interval needs, as `percentileInterval` makes it. */
export const samplesOfInterval = { p50: 6, p90: 36, p95: 72, p99: 368 } as const;

/** The percentiles that so few samples cannot bound. */
export function weakPercentiles(count: number): (keyof typeof samplesNeeded)[] {
  return (["p90", "p95", "p99"] as const).filter((name) => count < samplesNeeded[name]);
}

/** Summarises samples; null for none. Percentiles interpolate linearly between order statistics (type 7). */
export function summarise(samples: readonly number[]): Distribution | null {
  if (samples.length === 0) return null;
  const sorted = Float64Array.from(samples).sort();
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  const squares = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    count: sorted.length,
    mean,
    std: sorted.length === 1 ? 0 : Math.sqrt(squares / (sorted.length - 1)),
    min: sorted[0]!,
    p50: percentile(sorted, 0.5),
    p90: percentile(sorted, 0.9),
    p95: percentile(sorted, 0.95),
    p99: percentile(sorted, 0.99),
    max: sorted[sorted.length - 1]!,
    weak: weakPercentiles(sorted.length),
    intervals: {
      p50: percentileInterval(sorted, 0.5),
      p90: percentileInterval(sorted, 0.9),
      p95: percentileInterval(sorted, 0.95),
      p99: percentileInterval(sorted, 0.99),
    },
  };
}

/** Quantile of sorted values by linear interpolation (Hyndman and Fan 1996, type 7). */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const position = (sorted.length - 1) * share;
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (position - below);
}

/** Probability that is left out on each side of a two-sided 95 % interval. */
const tail = 0.025;

/**
 * Distribution-free 95 % interval of a quantile: the order statistics between which it lies, by the binomial number of
 * samples below it (Conover, Practical Nonparametric Statistics, section 3.2). Null where even the least and the
 * greatest sample hold it with less certainty (`samplesOfInterval`). Samples count as independent.
 */
function percentileInterval(sorted: ArrayLike<number>, share: number): [number, number] | null {
  const count = sorted.length;
  // Numbers of samples below the quantile that are 9 standard deviations off have no weight.
  const start = Math.max(0, Math.floor(count * share - 9 * Math.sqrt(count * share * (1 - share))));
  const odds = share / (1 - share);
  let probability = binomial(count, start, share);
  let cumulative = 0;
  let low = 0;
  let high = count + 1;
  for (let below = start; below <= count; below += 1) {
    cumulative += probability;
    probability *= ((count - below) / (below + 1)) * odds;
    if (cumulative <= tail) low = below + 1;
    if (cumulative >= 1 - tail) {
      high = below + 1;
      break;
    }
  }
  return low < 1 || high > count ? null : [sorted[low - 1]!, sorted[high - 1]!];
}

/** P(X = k) of a binomial distribution, by logarithms, so that thousands of samples do not underflow. */
function binomial(count: number, k: number, share: number): number {
  return Math.exp(
    logFactorial(count) -
      logFactorial(k) -
      logFactorial(count - k) +
      k * Math.log(share) +
      (count - k) * Math.log1p(-share),
  );
}

/** ln n!: exact sums for small n, Stirling's series from 32 on, whose error is below 1e-12 there. */
function logFactorial(n: number): number {
  if (n < 32) {
    let sum = 0;
    for (let factor = 2; factor <= n; factor += 1) sum += Math.log(factor);
    return sum;
  }
  const x = n + 1;
  const series = 1 / (12 * x) - 1 / (360 * x ** 3) + 1 / (1260 * x ** 5);
  return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series;
}
