import { bf16ToF32, f32ToBf16, roundHalfEven } from "../../base/half.ts";
import { invariant } from "../../base/invariant.ts";
import { emptyQuantized, type Grid, type Quantized, scaleBits } from "../grid.ts";

/**
 * Plain round-to-nearest over the range of each group (compressed-tensors 0.19, observer memoryless_minmax).
 * Symmetric: scale = max|w| / ((2^bits − 1) / 2). Else, with min and max widened to hold 0: scale = (max − min) /
 * (2^bits − 1) and zero = lowest − min / scale, rounded and clamped. Scales are rounded to bf16 before codes =
 * clamp(w / scale + zero), rounded half to even.
 *
 * @param values [rows, cols] f32, all finite; `cols` is a multiple of the group size
 */
export function quantizeToNearest(values: Float32Array, grid: Grid): Quantized {
  const { groupSize } = grid;
  invariant(values.length % groupSize === 0, "groups fill the rows");
  const quantized = emptyQuantized(values.length, grid);
  const { codes, scales, zeros } = quantized;
  const range = groupRange(grid);
  for (let group = 0; group < scales.length; group += 1) {
    const start = group * groupSize;
    const span = { values, codes, start, end: start + groupSize };
    const [scale, zero] = zeros === null ? [symmetricScale(span, range), 0] : zeroAndScale(span, range);
    scales[group] = scale;
    if (zeros !== null) zeros[group] = zero;
    roundGroup(span, bf16ToF32(scale), zero, range);
  }
  return quantized;
}

interface GroupSpan {
  readonly values: Float32Array;
  readonly codes: Int8Array;
  readonly start: number;
  readonly end: number;
}

interface Range {
  readonly min: number;
  readonly max: number;
  /** bf16 after each step, or f32. */
  readonly step: (value: number) => number;
  readonly roundsSteps: boolean;
}

function groupRange({ bits, roundsSteps }: Grid): Range {
  const max = 2 ** (bits - 1) - 1;
  return { min: -max - 1, max, roundsSteps, step: roundsSteps ? toBf16 : Math.fround };
}

function toBf16(value: number): number {
  return bf16ToF32(f32ToBf16(value));
}

function symmetricScale({ values, start, end }: GroupSpan, { max }: Range): number {
  let largest = 0;
  for (let i = start; i < end; i += 1) largest = Math.max(largest, Math.abs(values[i]!));
  return scaleBits(Math.fround(largest / (max + 0.5)));
}

/** bf16 bits of the scale, and the zero point. */
function zeroAndScale(
  { values, start, end }: GroupSpan,
  { min, max, step }: Range,
): [scale: number, zero: number] {
  let low = 0;
  let high = 0;
  for (let i = start; i < end; i += 1) {
    low = Math.min(low, values[i]!);
    high = Math.max(high, values[i]!);
  }
  const bits = scaleBits(step(step(high - low) / (max - min)));
  const zero = step(min - step(low / bf16ToF32(bits)));
  return [bits, roundHalfEven(Math.min(max, Math.max(min, zero)))];
}

const quotient = new Float32Array(1);
const quotientBits = new Uint32Array(quotient.buffer);

/** f32 quotients are exact roundings of f64 ones, so this equals f32 arithmetic bit for bit. */
function roundGroup(span: GroupSpan, scale: number, zero: number, { min, max, roundsSteps }: Range): void {
  const { values, codes, start, end } = span;
  for (let i = start; i < end; i += 1) {
    quotient[0] = values[i]! / scale;
    if (roundsSteps) roundQuotient();
    if (zero !== 0) {
      quotient[0] = quotient[0]! + zero;
      if (roundsSteps) roundQuotient();
    }
    const q = quotient[0]!;
    codes[i] = roundHalfEven(q < min ? min : q > max ? max : q);
  }
}

function roundQuotient(): void {
  const bits = quotientBits[0]!;
  quotientBits[0] = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
}
