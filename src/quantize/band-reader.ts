import { setImmediate as nextTurn } from "node:timers/promises";
import { collectAfter } from "../base/collect-garbage.ts";
import type { FloatDtype, Weight } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { toDense } from "../formats/dequantize.ts";
import { sliceRows } from "../formats/slice-rows.ts";
import type { Solver } from "../kernels/solver.ts";
import { ValueReader } from "./read-values.ts";
import { rowBands } from "./row-bands.ts";
import type { LinearShape } from "./scheme.ts";

export interface BandParts {
  readonly checkpoint: Checkpoint;
  /** Type that weights are rounded to first, or null. */
  readonly roundTo: FloatDtype | null;
  readonly solver: Solver;
  /** Elements that are in memory at a time. */
  readonly bandElements: number;
  /** Rows of a band are a multiple of this. */
  readonly rowUnit: number;
}

/** Reads matrices a band of rows at a time, into the same memory. */
export class BandReader {
  readonly #parts: BandParts;
  readonly #values: ValueReader;
  readonly #collect: (numElements: number) => void;

  constructor(parts: BandParts) {
    this.#parts = parts;
    this.#values = new ValueReader(parts.solver);
    this.#collect = collectAfter(parts.bandElements);
  }

  async forEachBand(
    { module, rows, cols }: LinearShape,
    onBand: (weight: Weight, firstRow: number) => void,
  ): Promise<void> {
    const { checkpoint, roundTo, bandElements, rowUnit } = this.#parts;
    const whole = checkpoint.linear(module);
    for (const { first, count } of rowBands(rows, cols, bandElements, rowUnit)) {
      const band = sliceRows(whole, first, count);
      onBand(roundTo === null ? band : toDense(band, roundTo), first);
      checkpoint.dropPages();
      this.#collect(count * cols);
      await nextTurn();
    }
  }

  /** [rows, cols], overwritten by the next call. */
  valuesOf(band: Weight): Float32Array {
    return this.#values.read(band);
  }
}
