import { studentQuantile } from "../../base/quantiles.ts";
import { minRounds, momentsOf } from "../bootstrap-interval.ts";

/** Normal quantile of the power that is planned for: 90 %. */
const powerQuantile = 1.2816;
/** Normal quantile of the certainty that the spread is not larger than planned with: 80 %. */
const spreadQuantile = 0.8416;

/**
 * Rounds after which a true difference of `effect` is found in nine runs of ten, from the spread of the rounds so far.
 * That spread is itself uncertain: the upper 80 % bound of it is planned with (chi-squared by Wilson and Hilferty 1931), so
 * that few rounds ask for more. At least four.
 *
 * @param effect in the unit of the differences
 */
export function roundsNeeded(differences: readonly number[], effect: number): number {
  const freedom = differences.length - 1;
  const { error } = momentsOf(differences);
  const part = 2 / (9 * freedom);
  const lowChiSquared = freedom * Math.max(0.1, 1 - part - spreadQuantile * Math.sqrt(part)) ** 3;
  const spread = error * Math.sqrt(differences.length) * Math.sqrt(freedom / lowChiSquared);
  let count = minRounds;
  for (; count < 10_000; count += 1) {
    const needed = ((studentQuantile(count - 1) + powerQuantile) * spread) / effect;
    if (count >= needed ** 2) break;
  }
  return count;
}
