import { f32ToF16 } from "../../base/half.ts";
import { blockTraits } from "../block-types.ts";
import { packSmallBlock } from "./pack-blocks.ts";

/** Values of a block of the types below (ggml: QK8_0, QK4_0 and the like). */
const blockSize = 32;

/** Block types of 32 values. */
export type SmallBlockType = "Q8_0" | "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1";

/** Rounds floats to blocks, to the bit as llama.cpp's `llama-quantize --pure` without an importance matrix does. */
export function roundToBlocks(values: Float32Array, type: SmallBlockType): Uint8Array {
  return type === "Q8_0" ? roundToQ8(values) : roundToNibbles(values, type);
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
    const inverse = inverseOf(d);
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

/** ggml, quantize_row_q4_0_ref, _q4_1_ref, _q5_0_ref and _q5_1_ref; all operations in f32. */
function roundToNibbles(values: Float32Array, type: SmallBlockType): Uint8Array {
  const { bits, bytes, hasMinimums } = blockTraits[type];
  const numBlocks = values.length / blockSize;
  const out = new Uint8Array(numBlocks * bytes);
  const codes = new Int32Array(blockSize);
  for (let block = 0; block < numBlocks; block += 1) {
    const from = block * blockSize;
    const { d, minimum } = hasMinimums ? rangeOf(values, from, bits) : extremeOf(values, from, bits);
    const inverse = inverseOf(d);
    // Without a minimum codes count from the middle of the range.
    const middle = hasMinimums ? 0 : 2 ** (bits - 1);
    for (let i = 0; i < blockSize; i += 1) {
      const x = Math.fround(Math.fround(values[from + i]! - minimum) * inverse);
      codes[i] = Math.min(2 ** bits - 1, Math.trunc(Math.fround(x + middle + 0.5))) - middle;
    }
    packSmallBlock(out.subarray(block * bytes, (block + 1) * bytes), type, { scale: d, minimum, codes });
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

/** 1 / d in f32; 0 where d is so small that there is none, and becomes 0 as f16. */
function inverseOf(d: number): number {
  const inverse = Math.fround(1 / d);
  return Math.abs(inverse) < Infinity ? inverse : 0;
}
