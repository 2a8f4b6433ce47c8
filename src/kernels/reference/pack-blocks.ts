import { f32ToF16 } from "../../base/half.ts";

/** A block of 32 values as integers. */
export interface SmallBlock {
  readonly scale: number;
  readonly minimum: number;
  readonly hasMinimum: boolean;
  /** [32] signed for 8 bits, else from 0. */
  readonly codes: Int32Array;
}

/**
 * f16 scale; f16 minimum where there is one; of five bits a u32 with the fifth ones; then bytes, or nibbles of which byte j
 * holds value j and, above it, value j + 16 (ggml: block_q8_0, block_q4_0, block_q4_1, block_q5_0, block_q5_1).
 */
export function packSmallBlock(
  out: Uint8Array,
  { scale, minimum, hasMinimum, codes }: SmallBlock,
  bits: number,
): void {
  const view = new DataView(out.buffer, out.byteOffset, out.length);
  view.setUint16(0, f32ToF16(scale), true);
  if (hasMinimum) view.setUint16(2, f32ToF16(minimum), true);
  let at = hasMinimum ? 4 : 2;
  if (bits === 8) {
    for (let i = 0; i < 32; i += 1) out[at + i] = codes[i]!;
    return;
  }
  if (bits === 5) {
    let fifths = 0;
    for (let i = 0; i < 32; i += 1) fifths |= (codes[i]! >> 4) << i;
    view.setUint32(at, fifths >>> 0, true);
    at += 4;
  }
  for (let i = 0; i < 16; i += 1) out[at + i] = (codes[i]! & 15) | ((codes[i + 16]! & 15) << 4);
}

/** A block of 256 values in eight groups: x ≈ d · scale · code − dmin · minimum. */
export interface AffineSuperBlock {
  readonly d: number;
  readonly dmin: number;
  /** [8] 0 … 63 */
  readonly scales: Int32Array;
  readonly minimums: Int32Array;
  /** [256] from 0 */
  readonly codes: Int32Array;
}

/** Q4_K and Q5_K (ggml: block_q4_K, block_q5_K); formats/gguf/k-blocks.ts says where the bits lie. */
export function packAffineSuperBlock(
  out: Uint8Array,
  { d, dmin, scales, minimums, codes }: AffineSuperBlock,
  bits: 4 | 5,
): void {
  const view = new DataView(out.buffer, out.byteOffset, out.length);
  view.setUint16(0, f32ToF16(d), true);
  view.setUint16(2, f32ToF16(dmin), true);
  for (let j = 0; j < 4; j += 1) {
    const [scale, minimum] = [scales[j + 4]!, minimums[j + 4]!];
    out[4 + j] = scales[j]! | ((scale >> 4) << 6);
    out[8 + j] = minimums[j]! | ((minimum >> 4) << 6);
    out[12 + j] = (scale & 15) | ((minimum & 15) << 4);
  }
  if (bits === 5) {
    for (let i = 0; i < 32; i += 1) {
      let high = 0;
      for (let group = 0; group < 8; group += 1) high |= (codes[group * 32 + i]! >> 4) << group;
      out[16 + i] = high;
    }
  }
  const first = bits === 5 ? 48 : 16;
  for (let run = 0; run < 4; run += 1) {
    for (let i = 0; i < 32; i += 1) {
      const from = run * 64 + i;
      out[first + run * 32 + i] = (codes[from]! & 15) | ((codes[from + 32]! & 15) << 4);
    }
  }
}

/** A block of 256 values in sixteen groups: x ≈ d · scale · (code − 32). */
export interface SymmetricSuperBlock {
  readonly d: number;
  /** [16] int8 */
  readonly scales: Int32Array;
  /** [256] 0 … 63 */
  readonly codes: Int32Array;
}

/** Q6_K (ggml: block_q6_K). */
export function packSymmetricSuperBlock(out: Uint8Array, { d, scales, codes }: SymmetricSuperBlock): void {
  for (let half = 0; half < 2; half += 1) {
    for (let i = 0; i < 32; i += 1) {
      const at = (quarter: number): number => codes[half * 128 + quarter * 32 + i]!;
      out[half * 64 + i] = (at(0) & 15) | ((at(2) & 15) << 4);
      out[half * 64 + 32 + i] = (at(1) & 15) | ((at(3) & 15) << 4);
      out[128 + half * 32 + i] =
        (at(0) >> 4) | ((at(1) >> 4) << 2) | ((at(2) >> 4) << 4) | ((at(3) >> 4) << 6);
    }
  }
  for (let group = 0; group < 16; group += 1) out[192 + group] = scales[group]!;
  new DataView(out.buffer, out.byteOffset, out.length).setUint16(208, f32ToF16(d), true);
}
