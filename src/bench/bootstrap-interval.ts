import { studentQuantile } from "../base/quantiles.ts";

/** Two-sided 95 % interval of a mean. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

const numResamples = 2000;
/** Share of resamples beyond each end. */
const tail = 0.025;
/** Of fewer rounds even Student's t leaves nothing but its own width. */
export const minRounds = 4;
/** Fewer rounds have so few different resamples that the ends of their distribution are chance. */
const minResampled = 8;

/**
 * 95 % interval of the mean of paired differences by the studentised block bootstrap (Efron and Tibshirani 1993, section
 * 12.5): whole rounds are drawn with replacement, so what rises and falls inside a round stays together, and each mean is
 * measured in its own standard errors. Never narrower than Student's t interval, and that interval itself below eight rounds:
 * a handful of rounds does not know its own tails. Null for fewer than four rounds.
 *
 * @param differences one for each round
 * @param random values from 0 to below 1
 */
export function bootstrapInterval(differences: readonly number[], random: () => number): Interval | null {
  const count = differences.length;
  if (count < minRounds) return null;
  const { mean, error } = momentsOf(differences);
  if (error === 0) return { mean, low: mean, high: mean };
  const student = studentQuantile(count - 1);
  if (count < minResampled) return { mean, low: mean - student * error, high: mean + student * error };
  const ratios = new Float64Array(numResamples);
  const drawn = new Float64Array(count);
  for (let resample = 0; resample < numResamples; ) {
    for (let i = 0; i < count; i += 1) drawn[i] = differences[Math.floor(random() * count)]!;
    const own = momentsOf(drawn);
    // Rounds that are all the same have no error to measure in.
    if (own.error === 0) continue;
    ratios[resample] = (own.mean - mean) / own.error;
    resample += 1;
  }
  ratios.sort();
  const above = Math.max(student, ratios[Math.ceil((1 - tail) * numResamples) - 1]!);
  const below = Math.max(student, -ratios[Math.floor(tail * numResamples)]!);
  return { mean, low: mean - above * error, high: mean + below * error };
}

/** Mean and its standard error. */
export function momentsOf(values: ArrayLike<number>): { readonly mean: number; readonly error: number } {
  const count = values.length;
  let sum = 0;
  for (let i = 0; i < count; i += 1) sum += values[i]!;
  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < count; i += 1) squares += (values[i]! - mean) ** 2;
  return { mean, error: Math.sqrt(squares / (count - 1) / count) };
}
