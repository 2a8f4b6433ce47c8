/**
 * The x ≥ 0 that makes |A·x − b|² least. Few unknowns: every subset of them is solved without the bound (normal
 * equations) and the best answer that keeps it is taken, which is the exact minimum, since at it some subset is above
 * 0 and free.
 *
 * @param rows A, [rows, columns]
 */
export function solveNonNegative(rows: readonly (readonly number[])[], b: readonly number[]): number[] {
  const numColumns = rows[0]?.length ?? 0;
  let best: number[] = Array.from({ length: numColumns }, () => 0);
  let least = sumOfSquares(rows, b, best);
  for (let subset = 1; subset < 2 ** numColumns; subset += 1) {
    const columns = Array.from({ length: numColumns }, (_, column) => column).filter(
      (column) => (subset >> column) & 1,
    );
    const solution = solveColumns(rows, b, columns);
    if (solution === null || solution.some((value) => value < 0)) continue;
    const full = Array.from({ length: numColumns }, () => 0);
    for (const [index, column] of columns.entries()) full[column] = solution[index]!;
    const sum = sumOfSquares(rows, b, full);
    if (sum >= least) continue;
    least = sum;
    best = full;
  }
  return best;
}

function sumOfSquares(
  rows: readonly (readonly number[])[],
  b: readonly number[],
  x: readonly number[],
): number {
  let sum = 0;
  for (const [index, row] of rows.entries()) {
    const predicted = row.reduce((total, term, column) => total + term * x[column]!, 0);
    sum += (predicted - b[index]!) ** 2;
  }
  return sum;
}

/** Columns are scaled to length 1 first: their units differ by orders of magnitude. Null where they depend on each other. */
function solveColumns(
  rows: readonly (readonly number[])[],
  b: readonly number[],
  columns: readonly number[],
): number[] | null {
  const lengths = columns.map((column) => Math.hypot(...rows.map((row) => row[column]!)));
  if (lengths.includes(0)) return null;
  const scaled = rows.map((row) => columns.map((column, index) => row[column]! / lengths[index]!));
  const system = columns.map((_, i) => [
    ...columns.map((__, j) => scaled.reduce((sum, row) => sum + row[i]! * row[j]!, 0)),
    scaled.reduce((sum, row, index) => sum + row[i]! * b[index]!, 0),
  ]);
  return eliminate(system)?.map((value, index) => value / lengths[index]!) ?? null;
}

/** Below this a pivot of columns of length 1 is rounding. */
const smallestPivot = 1e-9;

/** Gauss's elimination with the largest pivot; `system` is [n, n + 1] and is used up. */
function eliminate(system: number[][]): number[] | null {
  const size = system.length;
  for (let column = 0; column < size; column += 1) {
    let pivot = column;
    for (let row = column + 1; row < size; row += 1)
      if (Math.abs(system[row]![column]!) > Math.abs(system[pivot]![column]!)) pivot = row;
    [system[column], system[pivot]] = [system[pivot]!, system[column]!];
    const top = system[column]!;
    if (Math.abs(top[column]!) < smallestPivot) return null;
    for (const [index, row] of system.entries()) {
      if (index === column) continue;
      const factor = row[column]! / top[column]!;
      for (let at = column; at <= size; at += 1) row[at]! -= factor * top[at]!;
    }
  }
  return system.map((row, index) => row[size]! / row[index]!);
}
