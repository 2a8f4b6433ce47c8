import { f32ToF16 } from "../base/half.ts";

/** Values of a block of Q8_0 and Q4_0 (ggml: QK8_0, QK4_0). */
const blockSize = 32;

/** Block types that floats are rounded to here. */
export type RoundedType = "Q8_0" | "Q4_0";

/** Rounds floats to blocks, to the bit as llama.cpp's `llama-quantize --pure` without an importance matrix does. */
export function roundToBlocks(values: Float32Array, type: RoundedType): Uint8Array {
  return type === "Q8_0" ? roundToQ8(values) : roundToQ4(values);
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
 * d = the signed value of the largest |x| / −8, codes min(15, trunc(x / d + 8.5)); byte j holds value j in its low
 * nibble and value j + 16 in its high one (ggml, quantize_row_q4_0_ref).
 */
function roundToQ4(values: Float32Array): Uint8Array {
  const numBlocks = values.length / blockSize;
  const half = blockSize / 2;
  const out = new Uint8Array(numBlocks * 18);
  for (let block = 0, from = 0, to = 0; block < numBlocks; block += 1, from += blockSize) {
    let signed = 0;
    for (let i = from; i < from + blockSize; i += 1)
      if (Math.abs(values[i]!) > Math.abs(signed)) signed = values[i]!;
    const d = Math.fround(signed / -8);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    const bits = f32ToF16(d);
    out[to] = bits & 255;
    out[to + 1] = bits >> 8;
    to += 2;
    for (let j = 0; j < half; j += 1, to += 1) {
      out[to] = nibble(values[from + j]!, inverse) | (nibble(values[from + j + half]!, inverse) << 4);
    }
  }
  return out;
}

function nibble(x: number, inverse: number): number {
  return Math.min(15, Math.trunc(Math.fround(Math.fround(x * inverse) + 8.5)));
}
