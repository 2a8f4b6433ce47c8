import type { AccuracyRow } from "../records/comparison.ts";

/** The first metric of each task or group that no group speaks for. */
export function headlineRows(accuracy: readonly AccuracyRow[]): AccuracyRow[] {
  return accuracy.filter(
    (row, index) => row.parent === null && accuracy.findIndex(({ task }) => task === row.task) === index,
  );
}

/** A share of the base's quality, and half its 95 % interval where it has one. */
export interface OverallRecovery {
  readonly share: number;
  readonly half: number | null;
}

/**
 * The mean recovery of the headline rows. Tasks have documents of their own, so their errors add up as independent
 * ones. Null where no row has a recovery.
 */
export function recoveryOf(accuracy: readonly AccuracyRow[]): OverallRecovery | null {
  const rows = headlineRows(accuracy).filter(({ recovery }) => recovery !== null);
  if (rows.length === 0) return null;
  const share = rows.reduce((sum, { recovery }) => sum + recovery!, 0) / rows.length;
  const halves = rows.map(({ recoveryLow: low, recoveryHigh: high }) =>
    low === null || high === null ? null : (high - low) / 2,
  );
  if (halves.some((half) => half === null)) return { share, half: null };
  return { share, half: Math.hypot(...(halves as number[])) / rows.length };
}
