import { f32ToF16 } from "../../base/half.ts";
import { putBlockCodes } from "../block-codes.ts";
import { type BlockType, blockTraits } from "../block-types.ts";

/** A block of 32 values: x ≈ scale · code + minimum. */
export interface SmallBlock {
  readonly scale: number;
  /** Of a type that has none, 0. */
  readonly minimum: number;
  /** [32] as `putBlockCodes` takes them. */
  readonly codes: Int32Array;
}

/** f16 scale, f16 minimum where the type has one, then the integers. */
export function packSmallBlock(
  out: Uint8Array,
  type: BlockType,
  { scale, minimum, codes }: SmallBlock,
): void {
  const view = new DataView(out.buffer, out.byteOffset, out.length);
  view.setUint16(0, f32ToF16(scale), true);
  if (blockTraits[type].hasMinimums) view.setUint16(2, f32ToF16(minimum), true);
  putBlockCodes(type, codes, out);
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
  type: "Q4_K" | "Q5_K",
  { d, dmin, scales, minimums, codes }: AffineSuperBlock,
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
  putBlockCodes(type, codes, out);
}

/** A block of 256 values in sixteen groups: x ≈ d · scale · code. */
export interface SymmetricSuperBlock {
  readonly d: number;
  /** [16] int8 */
  readonly scales: Int32Array;
  /** [256] −32 … 31 */
  readonly codes: Int32Array;
}

/** Q6_K (ggml: block_q6_K). */
export function packSymmetricSuperBlock(out: Uint8Array, { d, scales, codes }: SymmetricSuperBlock): void {
  putBlockCodes("Q6_K", codes, out);
  for (let group = 0; group < 16; group += 1) out[192 + group] = scales[group]!;
  new DataView(out.buffer, out.byteOffset, out.length).setUint16(208, f32ToF16(d), true);
}
