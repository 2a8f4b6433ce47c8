import { f16ToF32 } from "../../base/half.ts";
import type { Groups } from "./block-formats.ts";

/** Values of a block (ggml: QK_K), in groups of 32, or of 16 in Q6_K. */
const superBlockSize = 256;
const groupsPerBlock = 8;

/** Bytes of a block (ggml: block_q4_K, block_q5_K, block_q6_K). */
const q4kBytes = 144;
const q5kBytes = 176;
const q6kBytes = 210;

/**
 * Q4_K: f16 d, f16 dmin, 12 bytes of scales and minimums, then 128 bytes of which each 32 hold 64 values: the low
 * nibbles the first 32, the high ones the next.
 */
export function readQ4K(data: Uint8Array, count: number): Groups {
  const numBlocks = count / superBlockSize;
  const codes = new Uint8Array(count / 2);
  const { scales, minimums } = readScales(data, numBlocks, q4kBytes);
  for (let block = 0; block < numBlocks; block += 1) {
    for (let run = 0; run < 4; run += 1) {
      const from = block * q4kBytes + 16 + run * 32;
      const to = (block * superBlockSize) / 2 + run * 32;
      for (let i = 0; i < 16; i += 1) {
        const first = data[from + 2 * i]!;
        const second = data[from + 2 * i + 1]!;
        codes[to + i] = (first & 15) | ((second & 15) << 4);
        codes[to + 16 + i] = (first >> 4) | (second & 0xf0);
      }
    }
  }
  return { codes, scales, minimums };
}

/** Q5_K: as Q4_K with 32 bytes of fifth bits before the nibbles: bit 2k of byte i belongs to value 64k + i, the next to 64k + 32 + i. */
export function readQ5K(data: Uint8Array, count: number): Groups {
  const numBlocks = count / superBlockSize;
  const codes = new Uint8Array(count);
  const { scales, minimums } = readScales(data, numBlocks, q5kBytes);
  for (let block = 0; block < numBlocks; block += 1) {
    const high = block * q5kBytes + 16;
    for (let run = 0; run < 4; run += 1) {
      const from = high + 32 + run * 32;
      const to = block * superBlockSize + run * 64;
      for (let i = 0; i < 32; i += 1) {
        const bits = data[high + i]! >> (2 * run);
        codes[to + i] = (data[from + i]! & 15) | ((bits & 1) << 4);
        codes[to + 32 + i] = (data[from + i]! >> 4) | ((bits & 2) << 3);
      }
    }
  }
  return { codes, scales, minimums };
}

/**
 * Scale d·sc and minimum −dmin·m of each group: 11 and 6 significant bits, so exact in f32. Of the 12 bytes, the first
 * four hold six bits of scales 0–3 and the next four of minimums 0–3; the last four hold the low nibbles of scales and
 * minimums 4–7, whose upper two bits are the upper two of the first eight bytes (ggml, get_scale_min_k4).
 */
function readScales(data: Uint8Array, numBlocks: number, blockBytes: number): Omit<Groups, "codes"> {
  const scales = new Float32Array(numBlocks * groupsPerBlock);
  const minimums = new Float32Array(numBlocks * groupsPerBlock);
  for (let block = 0, to = 0; block < numBlocks; block += 1, to += groupsPerBlock) {
    const start = block * blockBytes;
    const d = f16ToF32(data[start]! | (data[start + 1]! << 8));
    const dmin = f16ToF32(data[start + 2]! | (data[start + 3]! << 8));
    for (let j = 0; j < 4; j += 1) {
      const scale = data[start + 4 + j]!;
      const minimum = data[start + 8 + j]!;
      const rest = data[start + 12 + j]!;
      scales[to + j] = d * (scale & 63);
      minimums[to + j] = -dmin * (minimum & 63);
      scales[to + 4 + j] = d * ((rest & 15) | ((scale >> 6) << 4));
      minimums[to + 4 + j] = -dmin * ((rest >> 4) | ((minimum >> 6) << 4));
    }
  }
  return { scales, minimums };
}

/**
 * Q6_K: 128 bytes of low nibbles, 64 bytes of high pairs, 16 int8 scales, f16 d, for 256 values in two halves.
 * d·scale has at most 19 significant bits, so it is exact in f32.
 */
export function readQ6K(data: Uint8Array, count: number): Groups {
  const numBlocks = count / superBlockSize;
  const codes = new Uint8Array(count);
  const scales = new Float32Array(count / 16);
  for (let block = 0; block < numBlocks; block += 1) {
    const start = block * q6kBytes;
    const d = f16ToF32(data[start + 208]! | (data[start + 209]! << 8));
    for (let i = 0; i < 16; i += 1) scales[block * 16 + i] = d * ((data[start + 192 + i]! << 24) >> 24);
    for (let half = 0; half < 2; half += 1) {
      const low = start + half * 64;
      const high = start + 128 + half * 32;
      const to = block * superBlockSize + half * 128;
      for (let i = 0; i < 32; i += 1) {
        const pairs = data[high + i]!;
        const first = data[low + i]!;
        const second = data[low + 32 + i]!;
        codes[to + i] = ((first & 15) | ((pairs & 3) << 4)) - 32;
        codes[to + 32 + i] = ((second & 15) | ((pairs & 12) << 2)) - 32;
        codes[to + 64 + i] = ((first >> 4) | (pairs & 48)) - 32;
        codes[to + 96 + i] = ((second >> 4) | ((pairs & 192) >> 2)) - 32;
      }
    }
  }
  return { codes, scales, minimums: null };
}
