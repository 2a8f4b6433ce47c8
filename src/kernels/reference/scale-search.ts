import { bf16ToF32, roundHalfEven } from "../../base/half.ts";
import { invariant } from "../../base/invariant.ts";
import { emptyQuantized, type Grid, type Quantized, scaleBits } from "../grid.ts";
import { quantizeToNearest } from "./round-to-nearest.ts";

/**
 * Candidates for a scale, as multiples of the one that maps the largest |w| of a group to the end of the range: below 1
 * they cut off the largest weights, which pays the more the fewer bits there are.
 */
const shrinkRanges: Readonly<Record<number, readonly [least: number, most: number, count: number]>> = {
  8: [0.9, 1.02, 9],
  4: [0.6, 1.1, 16],
  3: [0.5, 1.2, 18],
  2: [0.35, 1.3, 20],
};

/**
 * Searches the scale of each group, and its zero point, for the least sum of weighted squared errors; starts from plain
 * rounding and keeps it where nothing is better. Each candidate is judged by its best possible scale, Σ w·q / Σ q²,
 * which is then rounded to bf16 before the codes are found with it. A symmetric scale may be negative: the range has
 * one integer more below 0 than above, which the largest weight may need on either side.
 *
 * @param values [rows, cols] f32, all finite
 * @param importance [cols] what an error in a column counts, above 0; null for 1
 */
export function searchScales(
  values: Float32Array,
  grid: Grid,
  importance: Float32Array | null = null,
): Quantized {
  const { groupSize } = grid;
  invariant(importance === null || values.length % importance.length === 0, "an importance for each column");
  const plain = quantizeToNearest(values, { ...grid, roundsSteps: false });
  const found = emptyQuantized(values.length, grid);
  const search = new GroupSearch(grid);
  const groupsPerRow = (importance?.length ?? groupSize) / groupSize;
  for (let group = 0; group < found.scales.length; group += 1) {
    const start = group * groupSize;
    const column = importance === null ? 0 : (group % groupsPerRow) * groupSize;
    search.begin(values, start, importance, column);
    search.keep(bf16ToF32(plain.scales[group]!), plain.zeros?.[group] ?? 0);
    if (found.zeros === null) search.trySymmetric();
    else search.tryZeroPoints();
    found.scales[group] = scaleBits(search.scale);
    if (found.zeros !== null) found.zeros[group] = search.zero;
    search.writeCodes(found.codes, start);
  }
  return found;
}

/** The search within one group; its arrays are used for every group. */
class GroupSearch {
  /** The best so far; the scale is one that bf16 holds. */
  scale = 0;
  zero = 0;
  #error = Infinity;
  readonly #w: Float64Array;
  readonly #weights: Float64Array;
  readonly #min: number;
  readonly #max: number;
  readonly #shrinks: readonly number[];

  constructor({ bits, groupSize }: Grid) {
    this.#w = new Float64Array(groupSize);
    this.#weights = new Float64Array(groupSize).fill(1);
    this.#max = 2 ** (bits - 1) - 1;
    this.#min = -this.#max - 1;
    const [least, most, count] = shrinkRanges[bits]!;
    this.#shrinks = Array.from({ length: count }, (_, i) => least + ((most - least) * i) / (count - 1));
  }

  begin(values: Float32Array, start: number, importance: Float32Array | null, column: number): void {
    const length = this.#w.length;
    for (let i = 0; i < length; i += 1) this.#w[i] = values[start + i]!;
    if (importance !== null) for (let i = 0; i < length; i += 1) this.#weights[i] = importance[column + i]!;
    this.#error = Infinity;
  }

  /** Takes a scale and a zero point if their error is the least so far. */
  keep(scale: number, zero: number): void {
    const error = this.#errorOf(scale, zero);
    if (error >= this.#error) return;
    this.#error = error;
    this.scale = scale;
    this.zero = zero;
  }

  trySymmetric(): void {
    let extreme = 0;
    for (const value of this.#w) if (Math.abs(value) > Math.abs(extreme)) extreme = value;
    if (extreme === 0) return;
    let best = 0;
    let bestGain = -1;
    for (const shrink of this.#shrinks) {
      for (const scale of [(extreme / this.#min) * shrink, (extreme / this.#max) * shrink]) {
        const gain = this.#gainOf(scale, 0);
        if (gain <= bestGain) continue;
        bestGain = gain;
        best = this.#fitted;
      }
    }
    this.#refine(best, 0);
  }

  tryZeroPoints(): void {
    let low = 0;
    let high = 0;
    for (const value of this.#w) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (low === high) return;
    const step = (high - low) / (this.#max - this.#min);
    const middle = Math.round(this.#min - low / step);
    let best = 0;
    let bestZero = 0;
    let bestGain = -1;
    for (let zero = middle - 1; zero <= middle + 1; zero += 1) {
      if (zero < this.#min || zero > this.#max) continue;
      for (const shrink of this.#shrinks) {
        const gain = this.#gainOf(step * shrink, zero);
        if (gain <= bestGain) continue;
        bestGain = gain;
        best = this.#fitted;
        bestZero = zero;
      }
    }
    this.#refine(best, bestZero);
  }

  writeCodes(codes: Int8Array, start: number): void {
    for (let i = 0; i < this.#w.length; i += 1) codes[start + i] = this.#codeOf(this.#w[i]!, this.scale);
  }

  /** Rounding with the fitted scale moves codes, which moves the fitted scale: twice is enough. */
  #refine(first: number, zero: number): void {
    for (let scale = first, turn = 0; turn < 2; turn += 1) {
      scale = bf16ToF32(scaleBits(scale));
      this.keep(scale, zero);
      this.#gainOf(scale, zero);
      scale = this.#fitted;
    }
  }

  /** Of the last `#gainOf`: the best scale for the codes that it found. */
  #fitted = 0;

  /** What the best scale for the codes of `scale` takes away from Σ v·w²: (Σ v·w·q)² / Σ v·q². */
  #gainOf(scale: number, zero: number): number {
    const w = this.#w;
    const weights = this.#weights;
    const inverse = 1 / scale;
    const min = this.#min - zero;
    const max = this.#max - zero;
    let product = 0;
    let square = 0;
    for (let i = 0; i < w.length; i += 1) {
      const rounded = roundHalfEven(w[i]! * inverse);
      const q = rounded < min ? min : rounded > max ? max : rounded;
      const weighted = weights[i]! * q;
      product += weighted * w[i]!;
      square += weighted * q;
    }
    this.#fitted = square === 0 ? scale : product / square;
    return square === 0 ? 0 : (product * product) / square;
  }

  #errorOf(scale: number, zero: number): number {
    let sum = 0;
    for (let i = 0; i < this.#w.length; i += 1) {
      const value = this.#w[i]!;
      const q = clamp(roundHalfEven(value / scale), this.#min - zero, this.#max - zero);
      const error = value - q * scale;
      sum += this.#weights[i]! * error * error;
    }
    return sum;
  }

  #codeOf(value: number, scale: number): number {
    return clamp(roundHalfEven(value / scale) + this.zero, this.#min, this.#max);
  }
}

function clamp(value: number, min: number, max: number): number {
  return value < min ? min : value > max ? max : value;
}
