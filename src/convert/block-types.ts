import { f16ToF32, f32ToF16 } from "../base/half.ts";
import { invariant } from "../base/invariant.ts";
import type { IntegerWeight, OrderedWeight } from "../base/weights.ts";
import { dequantize, narrowFloats } from "../formats/dequantize.ts";
import { blockTraits } from "../kernels/block-types.ts";
import { packSymmetricSuperBlock } from "../kernels/reference/pack-blocks.ts";
import { roundToBlocks, type SmallBlockType } from "../kernels/reference/round-to-blocks.ts";
import { floatDtypes, floatTypes, type WrittenType } from "../quantize/gguf/written-types.ts";

/** Values that share a scale in every block type written here but Q6_K. */
const blockSize = 32;
/** Of Q6_K: values that share a scale, and scales that share a factor. */
const q6kGroupSize = 16;
const q6kGroups = 16;

/** The type that holds a matrix exactly, integers and scales unchanged, or null where none written here does. */
export function exactType(weight: OrderedWeight): WrittenType | null {
  if (weight.kind === "dense") return floatTypes[weight.dtype];
  if (weight.groupSize === q6kGroupSize) return isQ6K(weight) ? "Q6_K" : null;
  if (weight.groupSize % blockSize !== 0 || !areHalves(weight.scales)) return null;
  if (weight.minimums === null) return weight.bits === 8 ? "Q8_0" : "Q4_0";
  return weight.bits === 4 && areHalves(weight.minimums) ? "Q4_1" : null;
}

/** Rows of a matrix as the file has them: exact where `exactType` says so, rounded for floats in the others. */
export function encodeRows(weight: OrderedWeight, type: WrittenType): Uint8Array {
  const dtype = floatDtypes[type];
  if (weight.kind === "dense" && dtype === weight.dtype) return weight.data;
  if (dtype !== undefined) return narrowFloats(dequantize(weight), dtype);
  if (exactType(weight) === type)
    return type === "Q6_K" ? encodeQ6K(weight as IntegerWeight) : encodeBlocks(weight as IntegerWeight, type);
  return roundToBlocks(dequantize(weight), type as SmallBlockType);
}

function areHalves(values: Float32Array): boolean {
  return values.every((value) => f16ToF32(f32ToF16(value)) === value);
}

/** Whether codes have six bits, and sixteen scales at a time are an f16 number times int8 ones. */
function isQ6K({ cols, bits, codes, scales, minimums }: IntegerWeight): boolean {
  if (bits !== 8 || minimums !== null || cols % (q6kGroups * q6kGroupSize) !== 0) return false;
  if (codes.some((code) => code > 31 && code < 256 - 32)) return false;
  for (let start = 0; start < scales.length; start += q6kGroups)
    if (factorOf(scales.subarray(start, start + q6kGroups)) === null) return false;
  return true;
}

/**
 * The f16 number that all scales of a block are int8 multiples of, or null. The largest scale is tried as −128 times it
 * first, which is what ggml makes it, so that its blocks come back to the byte.
 */
function factorOf(scales: Float32Array): number | null {
  const largest = scales.reduce((most, scale) => (Math.abs(scale) > Math.abs(most) ? scale : most), 0);
  if (largest === 0) return 0;
  for (let multiple = 128; multiple > 0; multiple -= 1) {
    const factor = -largest / multiple;
    if (f16ToF32(f32ToF16(factor)) !== factor) continue;
    if (scales.every((scale) => Number.isInteger(scale / factor) && scale / factor < 128)) return factor;
  }
  return null;
}

function encodeQ6K({ codes, scales }: IntegerWeight): Uint8Array {
  const { size, bytes } = blockTraits.Q6_K;
  const out = new Uint8Array((codes.length / size) * bytes);
  for (let block = 0; block < codes.length / size; block += 1) {
    const own = scales.subarray(block * q6kGroups, (block + 1) * q6kGroups);
    const d = factorOf(own)!;
    packSymmetricSuperBlock(out.subarray(block * bytes, (block + 1) * bytes), {
      d,
      scales: Int32Array.from(own, (scale) => (d === 0 ? 0 : scale / d)),
      codes: Int32Array.from(codes.subarray(block * size, (block + 1) * size), (code) => (code ^ 0x80) - 128),
    });
  }
  return out;
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
