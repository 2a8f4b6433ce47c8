import { invariant } from "../../base/invariant.ts";

/**
 * Reads `rows` streams of `count` unsigned integers of `bits` bits, least significant bit first, elements
 * following each other without gaps over little-endian 32-bit words (compressed-tensors `pack-quantized`).
 *
 * @param data rows of `stride` bytes each
 * @returns [rows, count], one byte for each integer
 */
export function unpackBits(
  data: Uint8Array,
  shape: { readonly rows: number; readonly count: number; readonly stride: number },
  bits: number,
): Uint8Array {
  const { rows, count, stride } = shape;
  invariant(
    bits <= 8 && stride * 8 >= count * bits && data.length >= rows * stride,
    "packed integers fit their rows",
  );
  const out = new Uint8Array(rows * count);
  const mask = (1 << bits) - 1;
  for (let row = 0, at = 0; row < rows; row += 1) {
    const start = row * stride;
    for (let i = 0, bit = 0; i < count; i += 1, bit += bits, at += 1) {
      const byte = start + (bit >> 3);
      const pair = data[byte]! | ((data[byte + 1] ?? 0) << 8);
      out[at] = (pair >> (bit & 7)) & mask;
    }
  }
  return out;
}

/** Two 4-bit codes a byte, the even element low. The number of codes is even. */
export function packNibbles(codes: Uint8Array): Uint8Array {
  const out = new Uint8Array(codes.length >> 1);
  for (let i = 0; i < out.length; i += 1) out[i] = codes[2 * i]! | (codes[2 * i + 1]! << 4);
  return out;
}

/** [rows, words] 32-bit words → [words, rows], as bytes: zero points are packed along the first dimension. */
export function transposeWords(data: Uint8Array, rows: number, cols: number): Uint8Array {
  const out = new Uint8Array(rows * cols * 4);
  for (let row = 0; row < rows; row += 1) {
    for (let col = 0; col < cols; col += 1) {
      const from = (row * cols + col) * 4;
      const to = (col * rows + row) * 4;
      for (let byte = 0; byte < 4; byte += 1) out[to + byte] = data[from + byte]!;
    }
  }
  return out;
}
