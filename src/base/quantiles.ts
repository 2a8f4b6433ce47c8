/** Upper 2.5 % points of Student's t for 1 to 5 degrees of freedom. */
const smallQuantiles = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706] as const;
/** Upper 2.5 % point of the normal distribution: the two-sided 95 % one. */
export const normalQuantile = 1.959963984540054;

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
