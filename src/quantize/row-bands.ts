/** Rows of a band are a multiple of this, so that zero points, packed along the rows, fill whole words. */
export const defaultUnit = 32;

/** Runs of rows, in order, of about `maxElements` elements; multiples of `unit` rows, but for the last. */
export function* rowBands(
  rows: number,
  cols: number,
  maxElements: number,
  unit: number = defaultUnit,
): Generator<{ readonly first: number; readonly count: number }> {
  const band = Math.max(unit, Math.floor(maxElements / cols / unit) * unit);
  for (let first = 0; first < rows; first += band) yield { first, count: Math.min(band, rows - first) };
}
