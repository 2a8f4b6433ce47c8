import { bf16ToF32, f32ToBf16 } from "../base/half.ts";

/** Integers with one scale, and one zero point where it is not symmetric, for each group of columns of a row. */
export interface Grid {
  readonly bits: number;
  /** Divides the columns; equal to them for one scale per row. */
  readonly groupSize: number;
  readonly symmetric: boolean;
  /**
   * Every step is rounded to bf16, which is what maths in the weights' own type does in llm-compressor. True for
   * bf16 weights under plain rounding: the integers then equal llm-compressor's. On SmolLM2-135M it raises the relative
   * error of 8-bit weights from 0.0088 to 0.0092 and that of 4-bit weights by less than 0.1 %.
   */
  readonly roundsSteps: boolean;
}

/** Rows of a matrix on a grid: w ≈ scale · (code − zero). */
export interface Quantized {
  /** [rows, cols], −2^(bits−1) … 2^(bits−1)−1 */
  readonly codes: Int8Array;
  /** [rows, cols / groupSize] bf16 bits */
  readonly scales: Uint16Array;
  /** [rows, cols / groupSize] in the range of the codes, or null for a symmetric grid. */
  readonly zeros: Int8Array | null;
}

/** The scale of a group of zeros: the machine epsilon of bf16 as llm-compressor stores it, never 0. */
const zeroGroupScale = 0.0078125;

/** bf16 bits of a scale; one that becomes 0 gets the scale of a group of zeros. */
export function scaleBits(scale: number): number {
  const bits = f32ToBf16(scale);
  return (bits & 0x7fff) === 0 ? f32ToBf16(zeroGroupScale) : bits;
}

export function emptyQuantized(numValues: number, { groupSize, symmetric }: Grid): Quantized {
  const numGroups = numValues / groupSize;
  return {
    codes: new Int8Array(numValues),
    scales: new Uint16Array(numGroups),
    zeros: symmetric ? null : new Int8Array(numGroups),
  };
}

/** What the integers stand for, f32; exact, as a scale has 8 bits and a code at most 8. */
export function valuesOf({ codes, scales, zeros }: Quantized): Float32Array {
  const values = new Float32Array(codes.length);
  const groupSize = codes.length / scales.length;
  for (let group = 0, i = 0; group < scales.length; group += 1) {
    const scale = bf16ToF32(scales[group]!);
    const zero = zeros === null ? 0 : zeros[group]!;
    for (const end = i + groupSize; i < end; i += 1) values[i] = (codes[i]! - zero) * scale + 0;
  }
  return values;
}
