import { invariant } from "../base/invariant.ts";
import { normalQuantile as z } from "../base/quantiles.ts";
import { type Interval, sum } from "./statistics.ts";

/** What two models made of the same right-or-wrong documents, in numbers of documents, and what the task counts for. */
export interface PairedCounts {
  readonly bothRight: number;
  /** Right before, wrong after. */
  readonly lost: number;
  /** Wrong before, right after. */
  readonly gained: number;
  readonly bothWrong: number;
  readonly weight: number;
}

/** Halvings of an interval of width 1: below the last digit of a double. */
const numHalvings = 60;

/**
 * 95 % interval of the difference of two shares of right answers, after − before: all differences that the score test does
 * not reject (Tango 1998, Statistics in Medicine 17, 891–908). Where not one answer flips among n documents it is
 * ±z² / (n + z²), next to the exact bound of Clopper and Pearson for none of n, 3.7 / n: documents that were not seen may
 * still flip. Several tasks, weighted, share one difference under the hypothesis; with one task it is Tango's own.
 */
export function differenceInterval(tasks: readonly PairedCounts[]): Interval {
  invariant(tasks.length > 0, "there is a task to compare");
  const observed = weighted(tasks, (task) => (task.gained - task.lost) / sizeOf(task));
  const score = (difference: number): number =>
    scoreOf(
      observed - difference,
      tasks.map((task) => [task, differenceVariance(task, difference)]),
    );
  return {
    low: crossing((value) => score(value) - z, -1, observed),
    high: crossing((value) => score(value) + z, observed, 1),
  };
}

/**
 * 95 % interval of the ratio of two shares of right answers, after / before, by the score test likewise (Tang, Tang and Chan
 * 2003, Statistics in Medicine 22, 1217–1233). Null where nothing was right before; the upper end may be infinite.
 */
export function ratioInterval(tasks: readonly PairedCounts[]): Interval | null {
  const before = weighted(tasks, (task) => (task.bothRight + task.lost) / sizeOf(task));
  const after = weighted(tasks, (task) => (task.bothRight + task.gained) / sizeOf(task));
  if (before === 0) return null;
  const score = (ratio: number): number =>
    scoreOf(
      after - ratio * before,
      tasks.map((task) => [task, ratioVariance(task, ratio)]),
    );
  // share = ratio / (1 + ratio) has both ends.
  const toRatio = (share: number): number => share / (1 - share);
  const observed = after / (after + before);
  return {
    low: toRatio(crossing((share) => score(toRatio(share)) - z, 0, observed)),
    high: toRatio(crossing((share) => score(toRatio(share)) + z, observed, 1)),
  };
}

function sizeOf({ bothRight, lost, gained, bothWrong }: PairedCounts): number {
  return bothRight + lost + gained + bothWrong;
}

function weighted(tasks: readonly PairedCounts[], value: (task: PairedCounts) => number): number {
  return sum(tasks.map((task) => task.weight * value(task))) / sum(tasks.map(({ weight }) => weight));
}

/** A deviation in standard errors, from each task's variance of one document. */
function scoreOf(deviation: number, tasks: readonly (readonly [PairedCounts, number])[]): number {
  if (deviation === 0) return 0;
  const total = sum(tasks.map(([{ weight }]) => weight));
  const variance = sum(
    tasks.map(([task, variance]) => ((task.weight / total) ** 2 * variance) / sizeOf(task)),
  );
  return deviation / Math.sqrt(variance);
}

/** Variance of one document's difference where its mean is `difference`, at the likeliest share of lost answers. */
function differenceVariance(task: PairedCounts, difference: number): number {
  const n = sizeOf(task);
  const lost = positiveRoot(
    2 * n,
    (2 * n - task.gained + task.lost) * difference - task.gained - task.lost,
    -task.lost * difference * (1 - difference),
  );
  return 2 * lost + difference * (1 - difference);
}

/**
 * Variance of one document's `after − ratio · before` where its mean is 0, at the likeliest shares: what is wrong both times
 * keeps its share, and the share u of gained answers among the rest solves a quadratic equation.
 */
function ratioVariance(task: PairedCounts, ratio: number): number {
  const { bothRight, lost, gained } = task;
  const rest = bothRight + lost + gained;
  if (rest === 0) return 0;
  const u = positiveRoot(
    ratio * (1 + ratio) * rest,
    (bothRight + gained) * (1 - ratio ** 2) - (lost + gained) * ratio ** 2,
    -gained * ratio * (1 - ratio),
  );
  return ((ratio * rest) / sizeOf(task)) * (1 - ratio + (1 + ratio) * u);
}

/** The greater root of ax² + bx + c, without the loss of digits of −b + √…; 0 for rounding below it. */
function positiveRoot(a: number, b: number, c: number): number {
  const root = Math.sqrt(Math.max(0, b * b - 4 * a * c));
  const value = b > 0 ? (-2 * c) / (b + root) : (root - b) / (2 * a);
  return Number.isFinite(value) ? Math.max(0, value) : 0;
}

/** Where a falling function changes its sign between two points; the end that it does not reach. */
function crossing(value: (at: number) => number, from: number, to: number): number {
  let [low, high] = [from, to];
  for (let i = 0; i < numHalvings; i += 1) {
    const middle = (low + high) / 2;
    if (value(middle) > 0) low = middle;
    else high = middle;
  }
  return value(from) <= 0 ? from : value(to) >= 0 ? to : (low + high) / 2;
}
