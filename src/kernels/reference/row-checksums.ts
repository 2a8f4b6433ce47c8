/** Bytes of a row's checksum. */
export const checksumBytes = 16;

/**
 * Of each row of values [rows, cols], of which the bits are 32-bit words w: Σ w and Σ (i + 1) · w modulo 2⁶⁴, as
 * little-endian integers. As Fletcher's checksum (RFC 1146) with wide sums: it tells rows of which a value is another one, or
 * two are in each other's place, and not those that were made to deceive.
 */
export function rowChecksums(values: Float32Array, cols: number): Uint8Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const rows = values.length / cols;
  const sums = new BigUint64Array(2 * rows);
  for (let row = 0; row < rows; row += 1) {
    let plain = 0;
    // In halves, so that products stay whole numbers in f64 up to 2¹⁸ columns.
    let low = 0;
    let high = 0;
    for (let i = 0, at = row * cols; i < cols; i += 1, at += 1) {
      const word = words[at]!;
      plain += word;
      low += (i + 1) * (word & 0xffff);
      high += (i + 1) * (word >>> 16);
    }
    sums[2 * row] = BigInt(plain);
    sums[2 * row + 1] = BigInt(low) + (BigInt(high) << 16n);
  }
  return new Uint8Array(sums.buffer);
}
