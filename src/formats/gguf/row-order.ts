/**
 * Undoes the row order of q and k in files of the llama family: within a head of size d, file row 2b + a is row
 * a·(d/2) + b of the rotate-half convention (a ∈ {0, 1}, b < d/2). Rows are whole blocks, so bytes are moved only.
 *
 * @param data [numHeads · headDim] rows of `rowBytes` bytes
 */
export function unpermuteRows(data: Uint8Array, rowBytes: number, headDim: number): Uint8Array {
  const out = new Uint8Array(data.length);
  const half = headDim / 2;
  const headBytes = headDim * rowBytes;
  for (let head = 0; head < data.length; head += headBytes) {
    for (let row = 0; row < headDim; row += 1) {
      const source = row < half ? 2 * row : 2 * (row - half) + 1;
      const from = head + source * rowBytes;
      out.set(data.subarray(from, from + rowBytes), head + row * rowBytes);
    }
  }
  return out;
}
