import { rowUnit } from "./linear-tensors.ts";

/** Runs of rows, in order, of about `maxElements` elements; multiples of `rowUnit` rows. */
export function* rowBands(
  rows: number,
  cols: number,
  maxElements: number,
): Generator<{ readonly first: number; readonly count: number }> {
  const band = Math.max(rowUnit, Math.floor(maxElements / cols / rowUnit) * rowUnit);
  for (let first = 0; first < rows; first += band) yield { first, count: Math.min(band, rows - first) };
}
