import type { Weight } from "../base/weights.ts";
import { dequantize } from "../formats/dequantize.ts";
import type { Solver } from "../kernels/solver.ts";

/** Values of a matrix in f32, a zero without a sign where integers stand for it. */
export function readValues(weight: Weight, solver: Solver): Float32Array {
  return new ValueReader(solver).read(weight);
}

/** Reads one matrix after the other into the same memory: fresh memory costs more time than the reading. */
export class ValueReader {
  readonly #solver: Solver;
  #buffer = new Float32Array(0);

  constructor(solver: Solver) {
    this.#solver = solver;
  }

  /** As `readValues`; what it returns is overwritten by the next call. */
  read(weight: Weight): Float32Array {
    const count = weight.rows * weight.cols;
    if (weight.kind !== "reordered") {
      if (this.#buffer.length < count) this.#buffer = new Float32Array(count);
      const values = this.#buffer.subarray(0, count);
      if (this.#solver.readWeight(weight, values)) return values;
    }
    const values = dequantize(weight);
    if (weight.kind !== "dense") for (let i = 0; i < count; i += 1) values[i] = values[i]! + 0;
    return values;
  }
}
