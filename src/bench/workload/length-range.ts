import { normal } from "../random.ts";

/** Lengths in tokens: normal and cut off at both ends, or even between them where `stdev` is 0. */
export interface LengthRange {
  readonly mean: number;
  readonly stdev: number;
  readonly min: number;
  readonly max: number;
}

export function fixedLength(tokens: number): LengthRange {
  return { mean: tokens, stdev: 0, min: tokens, max: tokens };
}

export function drawLength({ mean, stdev, min, max }: LengthRange, random: () => number): number {
  if (min === max) return min;
  if (stdev === 0) return min + Math.floor(random() * (max - min + 1));
  return Math.min(max, Math.max(min, Math.round(mean + stdev * normal(random))));
}

export function lengthText({ mean, stdev, min, max }: LengthRange): string {
  if (min === max) return String(min);
  return stdev === 0 ? `${min} to ${max}` : `${mean} ± ${stdev}`;
}
