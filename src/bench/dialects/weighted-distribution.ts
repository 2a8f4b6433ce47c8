/** A distribution in GuideLLM's form. */
export interface GuidellmDistribution {
  readonly mean: number;
  readonly median: number;
  readonly mode: number;
  readonly variance: number;
  readonly std_dev: number;
  readonly min: number;
  readonly max: number;
  readonly count: number;
  readonly total_sum: number;
  readonly percentiles: Readonly<Record<string, number>>;
  readonly pdf: null;
  readonly mean_ci: null;
  readonly percentile_cis: null;
}

/** A value and how much of the distribution it is. */
export type Weighted = readonly [value: number, weight: number];

const shares: Readonly<Record<string, number>> = {
  p001: 0.001,
  p01: 0.01,
  p05: 0.05,
  p10: 0.1,
  p25: 0.25,
  p50: 0.5,
  p75: 0.75,
  p90: 0.9,
  p95: 0.95,
  p99: 0.99,
  p999: 0.999,
};

/**
 * Summarises weighted values as GuideLLM does: a percentile is the least value below or at which that share of the weight
 * lies, the variance is that of the whole, the mode the value of the greatest weight, the least of several. Zeros where
 * there is nothing.
 *
 * @param count what the tool counts as samples, which need not be the values
 */
export function weightedDistribution(values: readonly Weighted[], count: number): GuidellmDistribution {
  const sorted = values.filter(([, weight]) => weight > 0).toSorted(([a], [b]) => a - b);
  const total = sorted.reduce((sum, [, weight]) => sum + weight, 0);
  const at = (share: number): number => {
    let passed = 0;
    for (const [value, weight] of sorted) {
      // Rounding is GuideLLM's too: six twelfths add up to a hair less than a half.
      passed += weight / total;
      if (passed >= share) return value;
    }
    return sorted.at(-1)?.[0] ?? 0;
  };
  const mean = total === 0 ? 0 : sorted.reduce((sum, [value, weight]) => sum + value * weight, 0) / total;
  const variance =
    total === 0 ? 0 : sorted.reduce((sum, [value, weight]) => sum + weight * (value - mean) ** 2, 0) / total;
  return {
    mean,
    median: at(0.5),
    mode: modeOf(sorted),
    variance,
    std_dev: Math.sqrt(variance),
    min: sorted[0]?.[0] ?? 0,
    max: sorted.at(-1)?.[0] ?? 0,
    count,
    total_sum: mean * count,
    percentiles: Object.fromEntries(Object.entries(shares).map(([name, share]) => [name, at(share)])),
    pdf: null,
    mean_ci: null,
    percentile_cis: null,
  };
}

function modeOf(sorted: readonly Weighted[]): number {
  const weights = new Map<number, number>();
  for (const [value, weight] of sorted) weights.set(value, (weights.get(value) ?? 0) + weight);
  let [mode, most] = [0, 0];
  for (const [value, weight] of weights) if (weight > most) [mode, most] = [value, weight];
  return mode;
}

/** Values of equal weight. */
export function evenDistribution(values: readonly number[]): GuidellmDistribution {
  return weightedDistribution(
    values.map((value): Weighted => [value, 1]),
    values.length,
  );
}
