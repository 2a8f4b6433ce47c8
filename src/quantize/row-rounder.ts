import type { Solver } from "../kernels/solver.ts";
import type { GptqFactors } from "./gptq.ts";
import type { LinearInput } from "./input-source.ts";
import type { RowBand } from "./output-format.ts";

/** Rows as a file holds them. */
export interface RoundedRows {
  /** Arrays that the same rows are in, one behind the other. */
  readonly parts: readonly (Uint8Array | Int8Array | Uint16Array)[];
  /** [rows, cols] what a reader of the file gets. */
  readonly values: Float32Array;
}

/** How rows of one linear become integers of a file. */
export interface RowFormat<R extends RoundedRows> {
  /** Finds scales, and takes the nearest integers. `importance` [cols] is what an error in a column counts; null for 1. */
  round(band: RowBand, importance: Float32Array | null): R;
  /** Finds other integers for the same scales, passing the error of each column on to those behind it. */
  passErrorsOn(band: RowBand, rounded: R, factors: GptqFactors): R;
}

/** What came of a linear beside its integers. */
export interface LinearOutcome {
  /** The root of (sum of squared errors of outputs / sum of squared outputs) on what was held out. */
  readonly outputError: number;
  /** Rows that each method gave. */
  readonly rows: Readonly<Record<string, number>>;
}

/**
 * Rounds the rows of one linear, in bands of any order. Where its input was seen, each row takes the method whose output
 * is nearest to that of the float weights on the held-out part of the input; the plainer one wins ties. A row is an output
 * of its own, so the choice of one changes no other. What was only estimated weighs columns and judges nothing.
 */
export class RowRounder<R extends RoundedRows> {
  readonly #format: RowFormat<R>;
  readonly #input: LinearInput | null;
  readonly #solver: Solver;
  readonly #rows = new Map<string, number>();
  #error = 0;
  #output = 0;

  constructor(format: RowFormat<R>, input: LinearInput | null, solver: Solver) {
    this.#format = format;
    this.#input = input;
    this.#solver = solver;
  }

  round(band: RowBand): R {
    if (this.#input === null) return this.#format.round(band, null);
    const { importance, heldOutGram, factors } = this.#input;
    const weighted = this.#format.round(band, importance);
    if (heldOutGram === null) return weighted;
    const plain = this.#format.round(band, null);
    const tries: [name: string, rows: R][] = [
      ["mse", plain],
      ["imatrix", weighted],
    ];
    if (factors !== null) tries.push(["gptq", this.#format.passErrorsOn(band, weighted, factors)]);
    return this.#keepBest(band.values, tries, heldOutGram);
  }

  /** Once all rows went through; null where nothing was measured. */
  outcome(): LinearOutcome | null {
    if (this.#input === null || this.#input.heldOutGram === null) return null;
    return {
      outputError: this.#output > 0 ? Math.sqrt(Math.max(0, this.#error) / this.#output) : 0,
      rows: Object.fromEntries(this.#rows),
    };
  }

  /** Puts the rows of other tries that do better into those of the first. */
  #keepBest(
    wanted: Float32Array,
    tries: readonly (readonly [name: string, rows: R])[],
    heldOutGram: Float32Array,
  ): R {
    const cols = Math.sqrt(heldOutGram.length);
    const [, first] = tries[0]!;
    const errors = tries.map(([, { values }]) =>
      this.#solver.quadraticForms(wanted, values, heldOutGram, cols),
    );
    const numRows = wanted.length / cols;
    const counts = tries.map(() => 0);
    for (let row = 0; row < numRows; row += 1) {
      let best = 0;
      for (let i = 1; i < errors.length; i += 1) if (errors[i]![row]! < errors[best]![row]!) best = i;
      counts[best] = counts[best]! + 1;
      this.#error += errors[best]![row]!;
      if (best !== 0) copyRow(tries[best]![1], first, row, numRows);
    }
    for (const [i, [name]] of tries.entries()) this.#rows.set(name, (this.#rows.get(name) ?? 0) + counts[i]!);
    for (const sum of this.#solver.quadraticForms(wanted, null, heldOutGram, cols)) this.#output += sum;
    return first;
  }
}

function copyRow(from: RoundedRows, to: RoundedRows, row: number, numRows: number): void {
  for (const [i, into] of [...to.parts, to.values].entries()) {
    const source = [...from.parts, from.values][i]!;
    const length = into.length / numRows;
    into.set(source.subarray(row * length, (row + 1) * length), row * length);
  }
}
