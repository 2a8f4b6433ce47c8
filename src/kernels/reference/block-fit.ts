import { roundHalfEven } from "../../base/half.ts";
import { allIntegers, type CodeRange } from "../block-codes.ts";

/**
 * Scales of one group of weights. All arithmetic is in f64 and every sum runs over eight lanes, so that the native kernels
 * give the same bits on any instruction set (native/kernels/block_fit.h has the same functions).
 */

const lanes = 8;

/** Values x of a group with what an error in each counts, w. */
export interface WeightedGroup {
  readonly x: Float64Array;
  readonly w: Float64Array;
}

/** x ≈ scale · q + minimum. */
export interface AffineScale {
  readonly scale: number;
  readonly minimum: number;
}

/** Candidates for the number of steps that the range of a group is cut into: the most code, and less or more. */
const numAffineTries = 21;
const firstAffineTry = -1;
const affineTryStep = 0.1;

/** Candidates for a symmetric scale: the largest |x| over the end of the codes, times a factor. */
const numSymmetricTries = 13;

/** Rounding with a fitted scale moves codes, which moves the fitted scale. */
const numRefinements = 2;

/** Σ over the group of `term`, in the order of the native kernels. */
function laneSum(count: number, term: (i: number) => number): number {
  const sums = new Float64Array(lanes);
  for (let i = 0; i < count; i += 1) sums[i % lanes] = sums[i % lanes]! + term(i);
  return sums[0]! + sums[4]! + (sums[2]! + sums[6]!) + (sums[1]! + sums[5]! + (sums[3]! + sums[7]!));
}

/** Of integers, halves to the even one; of levels, the middle of two to the upper one. */
export function nearestCode(x: number, { least, most, levels }: CodeRange): number {
  if (levels !== null) return levels.find((level, i) => 2 * x < level + (levels[i + 1] ?? Infinity)) ?? most;
  const code = roundHalfEven(x);
  return code < least ? least : code > most ? most : code;
}

/** x / scale − offset rounded to a code. */
export function codeOf(x: number, inverse: number, offset: number, range: CodeRange): number {
  return nearestCode((x + offset) * inverse, range);
}

/** Σ w · (x − scale · q − minimum)² with each q the nearest code. */
export function affineError(
  { x, w }: WeightedGroup,
  { scale, minimum }: AffineScale,
  range: CodeRange,
): number {
  const inverse = scale === 0 ? 0 : 1 / scale;
  return laneSum(x.length, (i) => {
    const error = x[i]! - scale * codeOf(x[i]!, inverse, -minimum, range) - minimum;
    return w[i]! * (error * error);
  });
}

/** The ends of a group: what plain rounding takes. With `reachesZero` 0 is among them. */
export function rangeOf(
  { x }: WeightedGroup,
  reachesZero: boolean,
): { readonly low: number; readonly high: number } {
  let low = reachesZero ? 0 : x[0]!;
  let high = low;
  for (const value of x) {
    low = value < low ? value : low;
    high = value > high ? value : high;
  }
  return { low, high };
}

/**
 * The scale and minimum of the least weighted squared error among several, each the best for its codes 0 … `most`. With
 * `reachesZero` the minimum is at most 0.
 */
export function fitAffine(group: WeightedGroup, most: number, reachesZero: boolean): AffineScale {
  const { x, w } = group;
  const range = allIntegers(0, most);
  const { low, high } = rangeOf(group, reachesZero);
  if (low === high) return { scale: 0, minimum: low };
  const sumW = laneSum(x.length, (i) => w[i]!);
  const sumX = laneSum(x.length, (i) => w[i]! * x[i]!);
  let best: AffineScale = { scale: (high - low) / most, minimum: low };
  let bestGain = -Infinity;
  const tryCodes = (inverse: number, minimum: number): AffineScale => {
    const codes = x.map((value) => codeOf(value, inverse, -minimum, range));
    const sumQ = laneSum(x.length, (i) => w[i]! * codes[i]!);
    const sumQq = laneSum(x.length, (i) => w[i]! * codes[i]! * codes[i]!);
    const sumXq = laneSum(x.length, (i) => w[i]! * codes[i]! * x[i]!);
    const determinant = sumW * sumQq - sumQ * sumQ;
    if (!(determinant > 0)) return { scale: 1 / inverse, minimum };
    let fitted: AffineScale = {
      scale: (sumW * sumXq - sumX * sumQ) / determinant,
      minimum: (sumQq * sumX - sumQ * sumXq) / determinant,
    };
    if (reachesZero && fitted.minimum > 0) fitted = { scale: sumXq / sumQq, minimum: 0 };
    // What the fit takes away from Σ w·x².
    const gain = fitted.scale * sumXq + fitted.minimum * sumX;
    if (gain > bestGain && fitted.scale > 0) {
      bestGain = gain;
      best = fitted;
    }
    return fitted;
  };
  for (let i = 0; i < numAffineTries; i += 1)
    tryCodes((most + firstAffineTry + affineTryStep * i) / (high - low), low);
  for (let i = 0, from = best; i < numRefinements; i += 1) {
    from = tryCodes(1 / from.scale, from.minimum);
    if (!(from.scale > 0)) break;
  }
  return best;
}

/** The value of the largest |x|, with its sign; the first of equals. */
export function extremeOf({ x }: WeightedGroup): number {
  let extreme = 0;
  for (const value of x) if (Math.abs(value) > Math.abs(extreme)) extreme = value;
  return extreme;
}

/** The scale of the least weighted squared error among several, each the best for its codes; 0 for zeros. */
export function fitSymmetric(group: WeightedGroup, range: CodeRange): number {
  const { least, most } = range;
  const { x, w } = group;
  const extreme = extremeOf(group);
  if (extreme === 0) return 0;
  let best = extreme / least;
  let bestGain = -Infinity;
  const tryCodes = (inverse: number): number => {
    const codes = x.map((value) => codeOf(value, inverse, 0, range));
    const sumQq = laneSum(x.length, (i) => w[i]! * codes[i]! * codes[i]!);
    const sumXq = laneSum(x.length, (i) => w[i]! * codes[i]! * x[i]!);
    if (!(sumQq > 0)) return 1 / inverse;
    const fitted = sumXq / sumQq;
    const gain = fitted * sumXq;
    if (gain > bestGain) {
      bestGain = gain;
      best = fitted;
    }
    return fitted;
  };
  const [first, step] = symmetricTries(range);
  for (let i = 0; i < numSymmetricTries; i += 1) {
    const factor = first + step * i;
    tryCodes((least / extreme) * factor);
    tryCodes((most / extreme) * factor);
  }
  for (let i = 0, from = best; i < numRefinements && from !== 0; i += 1) from = tryCodes(1 / from);
  return best;
}

/** First factor and step: the fewer codes, the more it pays to cut the largest weights off. */
function symmetricTries({ most, levels }: CodeRange): readonly [first: number, step: number] {
  if (levels !== null) return [0.88, 0.05];
  if (most > 100) return [0.96, 0.01];
  return most > 20 ? [0.91, 0.015] : most > 10 ? [0.88, 0.03] : [0.88, 0.05];
}
