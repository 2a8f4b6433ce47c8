/**
 * Undoes the row order of q and k in files of the llama family: within a head of size d, file row 2b + a is row
 * a·(d/2) + b of the rotate-half convention (a ∈ {0, 1}, b < d/2). Rows are whole blocks, so bytes are moved only.
 *
 * @param data [numHeads · headDim] rows of `rowBytes` bytes
 */
export function unpermuteRows(data: Uint8Array, rowBytes: number, headDim: number): Uint8Array {
  return moveRows(data, rowBytes, headDim, (row, pair) => [row, pair]);
}

/** The reverse of `unpermuteRows`. */
export function permuteRows(data: Uint8Array, rowBytes: number, headDim: number): Uint8Array {
  return moveRows(data, rowBytes, headDim, (row, pair) => [pair, row]);
}

/** Within each head, row `row` and its place `pair` in adjacent pairs: `place` gives target and source. */
function moveRows(
  data: Uint8Array,
  rowBytes: number,
  headDim: number,
  place: (row: number, pair: number) => readonly [to: number, from: number],
): Uint8Array {
  const out = new Uint8Array(data.length);
  const half = headDim / 2;
  const headBytes = headDim * rowBytes;
  for (let head = 0; head < data.length; head += headBytes) {
    for (let row = 0; row < headDim; row += 1) {
      const [to, from] = place(row, row < half ? 2 * row : 2 * (row - half) + 1);
      const start = head + from * rowBytes;
      out.set(data.subarray(start, start + rowBytes), head + to * rowBytes);
    }
  }
  return out;
}
