import type { InputStatistics } from "../calibration/collect-statistics.ts";

/**
 * Factors that move size between a linear's input and its weights without changing what a model computes: columns of a
 * linear times s, and what feeds them divided by s.
 */
export interface WeightTransform {
  /** By module, [cols]: columns are multiplied. */
  readonly columns: ReadonlyMap<string, Float32Array>;
  /** By module, [rows]: rows are divided. */
  readonly rows: ReadonlyMap<string, Float32Array>;
  /** By the full name of a norm's weight: what stands in its place. */
  readonly vectors: ReadonlyMap<string, Float32Array>;
}

export const noTransform: WeightTransform = { columns: new Map(), rows: new Map(), vectors: new Map() };

export function changes({ columns, rows }: WeightTransform, module: string): boolean {
  return columns.has(module) || rows.has(module);
}

/** Changes rows of a matrix [count, cols], from `firstRow` on, in place. */
export function transformRows(
  values: Float32Array,
  { columns, rows }: WeightTransform,
  { module, cols, firstRow }: { readonly module: string; readonly cols: number; readonly firstRow: number },
): void {
  const factors = columns.get(module);
  const divisors = rows.get(module);
  for (let start = 0, row = firstRow; start < values.length; start += cols, row += 1) {
    if (divisors !== undefined)
      for (let i = start; i < start + cols; i += 1) values[i] = values[i]! / divisors[row]!;
    if (factors !== undefined)
      for (let j = 0; j < cols; j += 1) values[start + j] = values[start + j]! * factors[j]!;
  }
}

/** What is known of an input whose columns are divided by `factors`. */
export function divideInput(input: InputStatistics, factors: Float32Array): InputStatistics {
  const { energy, gram, heldOutGram } = input;
  return {
    ...input,
    energy: energy.map((value, i) => value / factors[i]! ** 2),
    gram: gram === null ? null : divideGram(gram, factors),
    heldOutGram: divideGram(heldOutGram, factors),
  };
}

/** XᵀX [n, n] */
function divideGram(gram: Float32Array, factors: Float32Array): Float32Array {
  const n = factors.length;
  return gram.map((value, at) => value / (factors[Math.floor(at / n)]! * factors[at % n]!));
}
