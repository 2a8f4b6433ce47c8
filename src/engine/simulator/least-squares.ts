/** With columns of length 1, a gradient or a pivot below this is rounding. */
const rounding = 1e-9;

/**
 * The x ≥ 0 that makes |A·x − b|² least, by active sets (Lawson and Hanson 1974, chapter 23): the column along which
 * the sum falls fastest is freed, the minimum over the free columns is taken, and columns that it would push below 0
 * are held at 0 again. A column that depends on the free ones stays at 0.
 *
 * @param rows A, [rows, columns]
 */
export function solveNonNegative(rows: readonly (readonly number[])[], b: readonly number[]): number[] {
  const numColumns = rows[0]?.length ?? 0;
  // The units of the columns differ by orders of magnitude.
  const lengths = Array.from(
    { length: numColumns },
    (_, column) => Math.hypot(...rows.map((row) => row[column]!)) || 1,
  );
  const scaled = rows.map((row) => row.map((term, column) => term / lengths[column]!));
  let x = lengths.map(() => 0);
  const useless = new Set<number>();
  for (;;) {
    const next = steepestColumn(scaled, b, x, useless);
    if (next === -1) return x.map((value, column) => value / lengths[column]!);
    const moved = freeColumn(scaled, b, x, next);
    if (moved === null) useless.add(next);
    else {
      x = moved;
      useless.clear();
    }
  }
}

/** The column at 0 whose growth makes the sum fall fastest; −1 where none does. */
function steepestColumn(
  rows: readonly (readonly number[])[],
  b: readonly number[],
  x: readonly number[],
  useless: ReadonlySet<number>,
): number {
  const residual = rows.map((row, index) => b[index]! - row.reduce((sum, term, j) => sum + term * x[j]!, 0));
  let best = -1;
  let steepest = rounding;
  for (let column = 0; column < x.length; column += 1) {
    if (x[column]! > 0 || useless.has(column)) continue;
    const slope = rows.reduce((sum, row, index) => sum + row[column]! * residual[index]!, 0);
    if (slope <= steepest) continue;
    steepest = slope;
    best = column;
  }
  return best;
}

/** The minimum with one more column free; null where it depends on the others, or gains nothing beyond rounding. */
function freeColumn(
  rows: readonly (readonly number[])[],
  b: readonly number[],
  from: readonly number[],
  added: number,
): number[] | null {
  const x = [...from];
  let free = x.flatMap((value, column) => (value > 0 || column === added ? [column] : []));
  for (;;) {
    const solution = solveColumns(rows, b, free);
    if (solution === null) return null;
    // As far towards the minimum as no column falls below 0.
    let share = 1;
    for (const [index, column] of free.entries()) {
      const target = solution[index]!;
      if (target <= 0) share = Math.min(share, x[column]! / (x[column]! - target));
    }
    for (const [index, column] of free.entries()) x[column]! += share * (solution[index]! - x[column]!);
    if (share === 1) return x;
    const held = free.filter((column, index) => solution[index]! <= 0 && x[column]! <= rounding);
    if (held.includes(added)) return null;
    for (const column of held) x[column] = 0;
    free = free.filter((column) => !held.includes(column));
  }
}

/** The minimum over some columns, by normal equations; null where they depend on each other. */
function solveColumns(
  rows: readonly (readonly number[])[],
  b: readonly number[],
  columns: readonly number[],
): number[] | null {
  return eliminate(
    columns.map((i) => [
      ...columns.map((j) => rows.reduce((sum, row) => sum + row[i]! * row[j]!, 0)),
      rows.reduce((sum, row, index) => sum + row[i]! * b[index]!, 0),
    ]),
  );
}

/** Gauss's elimination with the largest pivot; `system` is [n, n + 1] and is used up. */
function eliminate(system: number[][]): number[] | null {
  const size = system.length;
  for (let column = 0; column < size; column += 1) {
    let pivot = column;
    for (let row = column + 1; row < size; row += 1)
      if (Math.abs(system[row]![column]!) > Math.abs(system[pivot]![column]!)) pivot = row;
    [system[column], system[pivot]] = [system[pivot]!, system[column]!];
    const top = system[column]!;
    if (Math.abs(top[column]!) < rounding) return null;
    for (const [index, row] of system.entries()) {
      if (index === column) continue;
      const factor = row[column]! / top[column]!;
      for (let at = column; at <= size; at += 1) row[at]! -= factor * top[at]!;
    }
  }
  return system.map((row, index) => row[size]! / row[index]!);
}
