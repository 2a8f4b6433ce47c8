import { normalQuantile } from "../base/quantiles.ts";
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
  /** Tasks that do not count in it. */
  readonly leftOut: readonly string[];
}

/**
 * The mean recovery of the headline rows. Tasks have documents of their own, so their errors add up as independent
 * ones. A task whose base is not shown to be above 0, at 95 %, has no share to speak of and is left out, unless all are such.
 * Null where no row has a recovery.
 */
export function recoveryOf(accuracy: readonly AccuracyRow[]): OverallRecovery | null {
  const all = headlineRows(accuracy).filter(({ recovery }) => recovery !== null);
  if (all.length === 0) return null;
  const shown = all.filter(({ base, baseStderr }) => base > normalQuantile * (baseStderr ?? 0));
  const rows = shown.length === 0 ? all : shown;
  const leftOut = all.filter((row) => !rows.includes(row)).map(({ task }) => task);
  const share = rows.reduce((sum, { recovery }) => sum + recovery!, 0) / rows.length;
  const halves = rows.map(({ recoveryLow: low, recoveryHigh: high }) =>
    low === null || high === null ? null : (high - low) / 2,
  );
  if (halves.some((half) => half === null)) return { share, half: null, leftOut };
  return { share, half: Math.hypot(...(halves as number[])) / rows.length, leftOut };
}
