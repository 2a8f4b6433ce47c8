import { f32ToF16 } from "../base/half.ts";

/** Values of a block of the types below (ggml: QK8_0, QK4_0 and the like). */
const blockSize = 32;

/** Block types that floats are rounded to here. */
export type RoundedType = "Q8_0" | "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1";

/** How a type of at most 5 bits lays a block out: f16 scale, f16 minimum, u32 of fifth bits, nibbles; the middle two where it has them. */
interface NibbleTraits {
  readonly bits: 4 | 5;
  readonly hasMinimum: boolean;
}

const nibbleTraits: Readonly<Record<Exclude<RoundedType, "Q8_0">, NibbleTraits>> = {
  Q4_0: { bits: 4, hasMinimum: false },
  Q4_1: { bits: 4, hasMinimum: true },
  Q5_0: { bits: 5, hasMinimum: false },
  Q5_1: { bits: 5, hasMinimum: true },
};

/** Rounds floats to blocks, to the bit as llama.cpp's `llama-quantize --pure` without an importance matrix does. */
export function roundToBlocks(values: Float32Array, type: RoundedType): Uint8Array {
  return type === "Q8_0" ? roundToQ8(values) : roundToNibbles(values, nibbleTraits[type]);
}

/** d = max|x| / 127, codes rounded half away from zero; all operations in f32 (ggml, quantize_row_q8_0_ref). */
function roundToQ8(values: Float32Array): Uint8Array {
  const numBlocks = values.length / blockSize;
  const out = new Uint8Array(numBlocks * 34);
  for (let block = 0, from = 0, to = 0; block < numBlocks; block += 1) {
    const end = from + blockSize;
    let largest = 0;
    for (let i = from; i < end; i += 1) largest = Math.max(largest, Math.abs(values[i]!));
    const d = Math.fround(largest / 127);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    const half = f32ToF16(d);
    out[to] = half & 255;
    out[to + 1] = half >> 8;
    to += 2;
    for (; from < end; from += 1, to += 1) {
      const x = Math.fround(values[from]! * inverse);
      out[to] = x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5);
    }
  }
  return out;
}

/**
 * Byte j holds value j in its low nibble and value j + 16 in its high one; bit i of the u32 is the fifth bit of value i
 * (ggml, quantize_row_q4_0_ref, _q4_1_ref, _q5_0_ref and _q5_1_ref; all operations in f32).
 */
function roundToNibbles(values: Float32Array, { bits, hasMinimum }: NibbleTraits): Uint8Array {
  const numBlocks = values.length / blockSize;
  const half = blockSize / 2;
  const nibblesAt = 2 + (hasMinimum ? 2 : 0) + (bits === 5 ? 4 : 0);
  const blockBytes = nibblesAt + half;
  const out = new Uint8Array(numBlocks * blockBytes);
  const view = new DataView(out.buffer);
  for (let block = 0; block < numBlocks; block += 1) {
    const from = block * blockSize;
    const to = block * blockBytes;
    const { d, minimum } = hasMinimum ? rangeOf(values, from, bits) : extremeOf(values, from, bits);
    view.setUint16(to, f32ToF16(d), true);
    if (hasMinimum) view.setUint16(to + 2, f32ToF16(minimum), true);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    // Without a minimum codes count from the middle of the range.
    const shift = hasMinimum ? 0.5 : 2 ** (bits - 1) + 0.5;
    let fifths = 0;
    for (let i = 0; i < blockSize; i += 1) {
      const x = Math.fround(Math.fround(values[from + i]! - minimum) * inverse);
      const code = Math.min(2 ** bits - 1, Math.trunc(Math.fround(x + shift)));
      const at = to + nibblesAt + (i % half);
      out[at] = out[at]! | ((code & 15) << (i < half ? 0 : 4));
      fifths |= (code >> 4) << i;
    }
    if (bits === 5) view.setUint32(to + nibblesAt - 4, fifths >>> 0, true);
  }
  return out;
}

interface BlockScale {
  readonly d: number;
  readonly minimum: number;
}

/** d = the signed value of the largest |x| over the lowest code. */
function extremeOf(values: Float32Array, from: number, bits: number): BlockScale {
  let signed = 0;
  for (let i = from; i < from + blockSize; i += 1)
    if (Math.abs(values[i]!) > Math.abs(signed)) signed = values[i]!;
  return { d: Math.fround(signed / -(2 ** (bits - 1))), minimum: 0 };
}

function rangeOf(values: Float32Array, from: number, bits: number): BlockScale {
  let low = values[from]!;
  let high = low;
  for (let i = from; i < from + blockSize; i += 1) {
    low = Math.min(low, values[i]!);
    high = Math.max(high, values[i]!);
  }
  return { d: Math.fround(Math.fround(high - low) / (2 ** bits - 1)), minimum: low };
}
