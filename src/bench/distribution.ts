import type { Distribution } from "../records/bench.ts";

/** Samples that a distribution-free one-sided 95 % bound of a percentile needs: smallest n with p^n ≤ 0.05. */
const samplesNeeded = { p90: 29, p95: 59, p99: 299 } as const;

/** Summarises samples; null for none. Percentiles interpolate linearly between order statistics (type 7). */
export function summarise(samples: readonly number[]): Distribution | null {
  if (samples.length === 0) return null;
  const sorted = Float64Array.from(samples).sort();
  const weak = (Object.keys(samplesNeeded) as (keyof typeof samplesNeeded)[]).filter(
    (name) => sorted.length < samplesNeeded[name],
  );
  return {
    count: sorted.length,
    mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    p50: percentile(sorted, 0.5),
    p90: percentile(sorted, 0.9),
    p95: percentile(sorted, 0.95),
    p99: percentile(sorted, 0.99),
    max: sorted[sorted.length - 1]!,
    weak,
  };
}

/** Quantile of sorted values by linear interpolation (Hyndman and Fan 1996, type 7). */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const position = (sorted.length - 1) * share;
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (position - below);
}
