import { f16ToF32, f32ToF16 } from "../base/half.ts";
import { invariant } from "../base/invariant.ts";
import type { IntegerWeight, OrderedWeight } from "../base/weights.ts";
import { dequantize, narrowFloats } from "../formats/dequantize.ts";
import { roundToBlocks, type SmallBlockType } from "../kernels/reference/round-to-blocks.ts";
import { floatDtypes, floatTypes, type WrittenType } from "../quantize/gguf/written-types.ts";

/** Values that share a scale in every block type written here. */
const blockSize = 32;

/** The type that holds a matrix exactly, integers and scales unchanged, or null where none written here does. */
export function exactType(weight: OrderedWeight): WrittenType | null {
  if (weight.kind === "dense") return floatTypes[weight.dtype];
  if (weight.groupSize % blockSize !== 0 || !areHalves(weight.scales)) return null;
  if (weight.minimums === null) return weight.bits === 8 ? "Q8_0" : "Q4_0";
  return weight.bits === 4 && areHalves(weight.minimums) ? "Q4_1" : null;
}

/** Rows of a matrix as the file has them: exact where `exactType` says so, rounded for floats in the others. */
export function encodeRows(weight: OrderedWeight, type: WrittenType): Uint8Array {
  const dtype = floatDtypes[type];
  if (weight.kind === "dense" && dtype === weight.dtype) return weight.data;
  if (dtype !== undefined) return narrowFloats(dequantize(weight), dtype);
  if (exactType(weight) === type) return encodeBlocks(weight as IntegerWeight, type);
  return roundToBlocks(dequantize(weight), type as SmallBlockType);
}

function areHalves(values: Float32Array): boolean {
  return values.every((value) => f16ToF32(f32ToF16(value)) === value);
}

/** f16 scale, f16 minimum where there is one, then 32 codes: int8, or two in a byte, j with j + 16. */
function encodeBlocks(weight: IntegerWeight, type: WrittenType): Uint8Array {
  const { rows, cols, bits, groupSize, codes, scales, minimums } = weight;
  const numBlocks = (rows * cols) / blockSize;
  const blockBytes = 2 + (minimums === null ? 0 : 2) + (blockSize * bits) / 8;
  invariant(type !== "Q4_1" || minimums !== null, "Q4_1 has minimums");
  const out = new Uint8Array(numBlocks * blockBytes);
  const view = new DataView(out.buffer);
  const half = blockSize / 2;
  for (let block = 0, to = 0; block < numBlocks; block += 1) {
    const group = Math.floor((block * blockSize) / groupSize);
    view.setUint16(to, f32ToF16(scales[group]!), true);
    to += 2;
    if (minimums !== null) {
      view.setUint16(to, f32ToF16(minimums[group]!), true);
      to += 2;
    }
    if (bits === 8) {
      out.set(codes.subarray(block * blockSize, (block + 1) * blockSize), to);
      to += blockSize;
      continue;
    }
    const from = block * half;
    for (let j = 0; j < half; j += 1, to += 1) {
      const shift = (j & 1) << 2;
      const low = (codes[from + (j >> 1)]! >> shift) & 15;
      const high = (codes[from + (half >> 1) + (j >> 1)]! >> shift) & 15;
      out[to] = low | (high << 4);
    }
  }
  return out;
}
