import type { GridCell, GridRow } from "../../records/load-comparison.ts";
import { type LoadLevel, loadOf, rateOf } from "../../records/load-level.ts";

/** A place that is nearer to a measured level than this share of it counts as measured. */
const sameLoad = 0.005;

/** Where a level lies on an axis. */
type Axis = (level: LoadLevel) => number;

/** All runs at the same number of requests in flight, at the levels of the run that got least far. */
export function equalConcurrency(runs: readonly (readonly LoadLevel[])[]): GridRow[] {
  return gridOf(runs.map(steadyLevels), loadOf);
}

/** All runs at the same requests per second. Closed loops count by what they reached, up to where more users gain nothing. */
export function equalRate(runs: readonly (readonly LoadLevel[])[]): GridRow[] {
  return gridOf(runs.map(risingRates), rateOf);
}

/** Levels with a load that somebody set; all at once is no place on an axis. */
export function steadyLevels(levels: readonly LoadLevel[]): LoadLevel[] {
  return levels.filter(({ kind }) => kind !== "at-once").toSorted((a, b) => loadOf(a) - loadOf(b));
}

function risingRates(levels: readonly LoadLevel[]): LoadLevel[] {
  const steady = steadyLevels(levels);
  const open = steady.filter(({ kind }) => kind === "open");
  // With rates enough of its own, a run's closed loops would only put two figures to one place.
  const taken = open.length >= 2 ? open : steady;
  let highest = 0;
  return taken.filter((level) => {
    const isRising = rateOf(level) > highest;
    highest = Math.max(highest, rateOf(level));
    return isRising;
  });
}

/** One row for each level of the run that ends first, as far as all runs begin below it. */
function gridOf(runs: readonly (readonly LoadLevel[])[], axis: Axis): GridRow[] {
  const withLevels = runs.filter((levels) => levels.length > 0);
  if (withLevels.length < 2) return [];
  const ends = withLevels.map((levels) => Math.max(...levels.map(axis)));
  const weakest = withLevels[ends.indexOf(Math.min(...ends))]!;
  const places = [...new Set(weakest.map(axis))].sort((a, b) => a - b);
  return places
    .map((at) => ({ at, cells: runs.map((levels) => cellAt(levels, axis, at)) }))
    .filter(({ cells }) => cells.filter((cell) => cell !== null).length >= 2);
}

/** A run at a place: the level that lies there, or a straight line between its neighbours; null outside. */
export function cellAt(levels: readonly LoadLevel[], axis: Axis, at: number): GridCell | null {
  const sorted = levels.toSorted((a, b) => axis(a) - axis(b));
  const same = sorted.find((level) => Math.abs(axis(level) - at) <= sameLoad * at);
  if (same !== undefined) return { ...figuresOf(same), isInterpolated: false };
  const above = sorted.findIndex((level) => axis(level) > at);
  if (above <= 0) return null;
  const [low, high] = [sorted[above - 1]!, sorted[above]!];
  const share = (at - axis(low)) / (axis(high) - axis(low));
  const between = (a: number, b: number): number => a + (b - a) * share;
  const [a, b] = [figuresOf(low), figuresOf(high)];
  const figure = (name: "ttftMs" | "tpotMs" | "e2eMs"): number | null =>
    a[name] === null || b[name] === null ? null : between(a[name], b[name]);
  return {
    ttftMs: figure("ttftMs"),
    tpotMs: figure("tpotMs"),
    e2eMs: figure("e2eMs"),
    outputTokensPerSecond: between(a.outputTokensPerSecond, b.outputTokensPerSecond),
    isInterpolated: true,
  };
}

function figuresOf({
  ttftMs,
  tpotMs,
  e2eMs,
  outputTokensPerSecond,
}: LoadLevel): Omit<GridCell, "isInterpolated"> {
  return {
    ttftMs: ttftMs?.p50 ?? null,
    tpotMs: tpotMs?.p50 ?? null,
    e2eMs: e2eMs?.p50 ?? null,
    outputTokensPerSecond,
  };
}
