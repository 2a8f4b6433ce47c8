import { invariant } from "../base/invariant.ts";

/**
 * Packs signed codes for compressed-tensors' `pack-quantized` (0.13 and later, where 3-bit values may straddle words):
 * u = q + 2^(bits−1), element i of a row at bit i·bits of a little-endian stream, rows padded to whole 32-bit words.
 *
 * @param codes [rows, cols]
 * @returns [rows, ceil(cols · bits / 32)] 32-bit words, as bytes
 */
export function packCodes(codes: Int8Array, cols: number, bits: number): Uint8Array {
  invariant(codes.length % cols === 0, "codes are whole rows");
  const rows = codes.length / cols;
  const stride = packedWords(cols, bits) * 4;
  const offset = 2 ** (bits - 1);
  const out = new Uint8Array(rows * stride);
  for (let row = 0, at = 0; row < rows; row += 1) {
    let byte = row * stride;
    let pending = 0;
    let numPending = 0;
    for (const end = at + cols; at < end; at += 1) {
      pending |= (codes[at]! + offset) << numPending;
      numPending += bits;
      if (numPending >= 8) {
        out[byte] = pending;
        byte += 1;
        pending >>>= 8;
        numPending -= 8;
      }
    }
    if (numPending > 0) out[byte] = pending;
  }
  return out;
}

/** 32-bit words of one packed row. */
export function packedWords(cols: number, bits: number): number {
  return Math.ceil((cols * bits) / 32);
}
