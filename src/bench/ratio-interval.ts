/** 95 % interval of a ratio of two means. */
export interface RatioInterval {
  readonly low: number;
  readonly high: number;
}

/** Upper 2.5 % points of Student's t for 1 to 5 degrees of freedom. */
const smallQuantiles = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706] as const;
/** Upper 2.5 % point of the normal distribution: the two-sided 95 % one. */
export const normalQuantile = 1.959964;

/**
 * Upper 2.5 % point of Student's t with whole degrees of freedom ≥ 1: a table up to 5, then the expansion of
 * Abramowitz and Stegun 26.7.5, within 0.0005 from 6 on.
 */
export function studentQuantile(freedom: number): number {
  const known = smallQuantiles[freedom - 1];
  if (known !== undefined) return known;
  const z = normalQuantile;
  const terms = [
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160,
  ];
  return terms.reduce((sum, term, index) => sum + term / freedom ** (index + 1), z);
}

/**
 * 95 % interval around `ratio`, the ratio of two stages' figures, from the slices of both: Welch's unequal-variance
 * t interval (Welch 1947, degrees of freedom after Satterthwaite, rounded down) on the logarithms of the slices'
 * figures, so that it is as wide for a/b as for b/a and few slices make it wide. Null with fewer than two slices on a
 * side. It knows the spread inside the two stages only, not what changes from one run to the next.
 */
export function ratioInterval(
  ratio: number,
  numerator: readonly number[],
  denominator: readonly number[],
): RatioInterval | null {
  if (numerator.length < 2 || denominator.length < 2) return null;
  const sides = [numerator, denominator].map((values) => ({
    squaredError: logVariance(values) / values.length,
    freedom: values.length - 1,
  }));
  const total = sides.reduce((sum, side) => sum + side.squaredError, 0);
  if (total === 0) return { low: ratio, high: ratio };
  const freedom = total ** 2 / sides.reduce((sum, side) => sum + side.squaredError ** 2 / side.freedom, 0);
  const half = studentQuantile(Math.max(1, Math.floor(freedom + 1e-9))) * Math.sqrt(total);
  return { low: ratio * Math.exp(-half), high: ratio * Math.exp(half) };
}

/** Half the width of the 95 % t interval of a mean, as a share of it; null for fewer than two slices. */
export function relativeSpread(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  return Math.expm1(studentQuantile(values.length - 1) * Math.sqrt(logVariance(values) / values.length));
}

/** Sample variance (n − 1) of the logarithms. */
function logVariance(values: readonly number[]): number {
  const logs = values.map(Math.log);
  const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length;
  return logs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (logs.length - 1);
}
