import { bf16ToF32 } from "../base/half.ts";
import { allIntegers } from "../kernels/block-codes.ts";
import type { Quantized } from "../kernels/grid.ts";
import type { Solver } from "../kernels/solver.ts";
import type { GptqFactors } from "./gptq.ts";
import type { LinearScheme } from "./linear-scheme.ts";
import { methods, type QuantizationMethod } from "./methods.ts";
import type { RowBand } from "./output-format.ts";
import type { RoundedRows, RowFormat } from "./row-rounder.ts";

export interface GroupRows extends RoundedRows {
  readonly quantized: Quantized;
}

/** Integers with a bf16 scale, and a zero point where the scheme is asymmetric, for each group of columns. */
export class GroupFormat implements RowFormat<GroupRows> {
  readonly #scheme: LinearScheme;
  readonly #cols: number;
  readonly #method: QuantizationMethod;
  readonly #solver: Solver;

  constructor(scheme: LinearScheme, cols: number, method: QuantizationMethod, solver: Solver) {
    this.#scheme = scheme;
    this.#cols = cols;
    this.#method = method;
    this.#solver = solver;
  }

  round({ values, isStoredBf16 }: RowBand, importance: Float32Array | null): GroupRows {
    const { bits, symmetric } = this.#scheme;
    const isSearched = this.#method !== "rtn";
    const roundsSteps = methods[this.#method].followsWeightType && isStoredBf16;
    const grid = { bits, groupSize: this.#groupSize, symmetric, roundsSteps };
    return this.#read(this.#solver.roundGroups({ cols: this.#cols, values, grid, importance, isSearched }));
  }

  passErrorsOn(
    { values }: RowBand,
    { quantized: { scales: bits, zeros } }: GroupRows,
    { order, upper }: GptqFactors,
  ): GroupRows {
    const most = 2 ** (this.#scheme.bits - 1) - 1;
    const scales = Float32Array.from(bits, bf16ToF32);
    const minimums = zeros === null ? null : scales.map((scale, group) => -zeros[group]! * scale);
    const codes = this.#solver.roundRows({
      cols: this.#cols,
      values,
      range: allIntegers(-most - 1, most),
      groupSize: this.#groupSize,
      scales,
      minimums,
      order,
      upper,
    });
    return this.#read({ codes, scales: bits.slice(), zeros: zeros?.slice() ?? null });
  }

  get #groupSize(): number {
    return this.#scheme.groupSize ?? this.#cols;
  }

  #read(quantized: Quantized): GroupRows {
    const { codes, scales, zeros } = quantized;
    const values = this.#solver.readGroups(quantized, this.#cols);
    return { quantized, values, parts: zeros === null ? [codes, scales] : [codes, scales, zeros] };
  }
}
