import { studentQuantile } from "../base/quantiles.ts";

/** 95 % interval of a ratio of two means. */
export interface RatioInterval {
  readonly low: number;
  readonly high: number;
}

/**
 * Figures of slices in strata: those of one stratum stood at the same place of the same load, one of each round. A load
 * begins with a burst and ends with few in flight, so slices at different places differ without any noise.
 */
export type Strata = readonly (readonly number[])[];

/** Squared standard error of a mean of logarithms, and the degrees of freedom that it is known with. */
export interface LogError {
  readonly squared: number;
  readonly freedom: number;
}

/**
 * 95 % interval around `ratio`, from the errors that it is made of, mostly those of the two stages: Welch's
 * unequal-variance t interval (Welch 1947, degrees of freedom after Satterthwaite, rounded down) on the logarithms, so that
 * it is as wide for a/b as for b/a and few samples make it wide.
 */
export function ratioInterval(ratio: number, ...errors: readonly LogError[]): RatioInterval {
  const total = errors.reduce((sum, { squared }) => sum + squared, 0);
  if (total === 0) return { low: ratio, high: ratio };
  const freedom = total ** 2 / errors.reduce((sum, { squared, freedom }) => sum + squared ** 2 / freedom, 0);
  const half = studentQuantile(Math.max(1, Math.floor(freedom + 1e-9))) * Math.sqrt(total);
  return { low: ratio * Math.exp(-half), high: ratio * Math.exp(half) };
}

/** Half the width of the 95 % t interval of a mean, as a share of it. */
export function relativeSpread({ squared, freedom }: LogError): number {
  return Math.expm1(studentQuantile(freedom) * Math.sqrt(squared));
}

/**
 * The error of slices: of the variance inside the strata, pooled (Cochran, Sampling Techniques, 5.6), or of that among all
 * where no stratum holds two. Null for fewer than two figures. Of single rounds it knows the spread inside a stage only,
 * not what changes from one run to the next.
 */
export function sliceError(strata: Strata): LogError | null {
  const count = strata.flat().length;
  if (count < 2) return null;
  const groups = strata.some(({ length }) => length > 1) ? strata : [strata.flat()];
  const squares = groups.reduce((sum, stratum) => sum + squaresAroundMean(stratum.map(Math.log)), 0);
  const freedom = groups.reduce((sum, { length }) => sum + Math.max(0, length - 1), 0);
  return { squared: squares / freedom / count, freedom };
}

function squaresAroundMean(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
}
