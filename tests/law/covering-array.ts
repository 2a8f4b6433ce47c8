/** One value of each dimension. */
export type Row<Dimensions extends Record<string, readonly unknown[]>> = {
  readonly [Name in keyof Dimensions]: Dimensions[Name][number];
};

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Every combination, the last dimension running fastest. */
export function fullProduct<D extends Record<string, readonly unknown[]>>(dimensions: D): Row<D>[] {
  let rows: Record<string, unknown>[] = [{}];
  for (const [name, values] of Object.entries(dimensions)) {
    rows = rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value })));
  }
  return rows as Row<D>[];
}

/** Candidates that are drawn for each row of the array; the one that covers most new pairs is taken. */
const numCandidates = 50;

/**
 * Rows such that any two values of two different dimensions stand together in at least one of them, made greedily
 * (Cohen et al. 1997, The AETG System): a row starts with a pair that is not yet covered, and each further dimension,
 * in random order, gets the value that covers most.
 */
export function coveringArray<D extends Record<string, readonly unknown[]>>(
  dimensions: D,
  seed: number,
): Row<D>[] {
  const names = Object.keys(dimensions);
  const sizes = names.map((name) => dimensions[name]!.length);
  const random = createRandom(seed);
  const open = allPairs(sizes);
  const rows: number[][] = [];
  while (open.size > 0) {
    const candidates = Array.from({ length: numCandidates }, () => drawRow(sizes, open, random));
    const gains = candidates.map((row) => pairsOf(row).filter((pair) => open.has(pair)).length);
    const best = candidates[gains.indexOf(Math.max(...gains))]!;
    for (const pair of pairsOf(best)) open.delete(pair);
    rows.push(best);
  }
  if (rows.length === 0 && sizes.every((size) => size > 0)) rows.push(...singles(sizes));
  return rows.map(
    (row) => Object.fromEntries(names.map((name, d) => [name, dimensions[name]![row[d]!]])) as Row<D>,
  );
}

const pairKey = (d: number, value: number, e: number, other: number): string =>
  d < e ? `${d}:${value},${e}:${other}` : `${e}:${other},${d}:${value}`;

function allPairs(sizes: readonly number[]): Set<string> {
  const pairs = new Set<string>();
  for (let d = 0; d < sizes.length; d += 1)
    for (let e = d + 1; e < sizes.length; e += 1)
      for (let value = 0; value < sizes[d]!; value += 1)
        for (let other = 0; other < sizes[e]!; other += 1) pairs.add(pairKey(d, value, e, other));
  return pairs;
}

function pairsOf(row: readonly number[]): string[] {
  return row.flatMap((value, d) => row.slice(d + 1).map((other, i) => pairKey(d, value, d + 1 + i, other)));
}

/** With fewer than two dimensions there are no pairs: then each value alone is a row. */
function singles(sizes: readonly number[]): number[][] {
  return sizes.length === 0 ? [] : Array.from({ length: sizes[0]! }, (_, value) => [value]);
}

function drawRow(sizes: readonly number[], open: ReadonlySet<string>, random: () => number): number[] {
  const row = sizes.map(() => -1);
  const pairs = [...open];
  const start = pairs[Math.floor(random() * pairs.length)]!;
  for (const part of start.split(",")) {
    const [d, value] = part.split(":").map(Number);
    row[d!] = value!;
  }
  for (const d of shuffled([...sizes.keys()], random)) {
    if (row[d] !== -1) continue;
    const gains = Array.from({ length: sizes[d]! }, (_, value) =>
      row.reduce(
        (sum, other, e) => sum + (other !== -1 && open.has(pairKey(d, value, e, other)) ? 1 : 0),
        random() / 2,
      ),
    );
    row[d] = gains.indexOf(Math.max(...gains));
  }
  return row;
}

/** The same things in a random order. */
export function shuffled<T>(things: readonly T[], random: () => number): T[] {
  const order = [...things];
  for (let index = order.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    [order[index], order[other]] = [order[other]!, order[index]!];
  }
  return order;
}
