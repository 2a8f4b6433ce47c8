import { dequantize } from "../../formats/dequantize.ts";
import { readBlocks } from "../../formats/gguf/blocks.ts";
import { type BlockType, blockTraits } from "../../kernels/block-types.ts";
import type { Solver } from "../../kernels/solver.ts";
import type { LinearEncoder } from "../output-format.ts";
import type { QuantizationTarget } from "../plan.ts";
import type { LinearInputs, QuantizerSource } from "../quantizers.ts";
import type { GgufFile } from "./gguf-file.ts";

export interface BlockEncoderParts {
  readonly file: GgufFile;
  readonly source: QuantizerSource;
  readonly solver: Solver;
  /** Scales are searched for, not taken from the range of each group. */
  readonly isSearched: boolean;
}

/** Rows as blocks, and what a reader gets of them. */
interface RoundedRows {
  readonly blocks: Uint8Array;
  readonly values: Float32Array;
}

/** Rounds rows to blocks. Where the inputs of the linear are known, each row is the better of two on what was held out. */
export function blockEncoder(
  target: QuantizationTarget,
  { file, source, solver, isSearched }: BlockEncoderParts,
): LinearEncoder {
  const { module, cols } = target;
  const type = file.matrices.get(module)!.type as BlockType;
  const { size, bytes } = blockTraits[type];
  const inputs = source.inputsOf(target);
  const round = (values: Float32Array, importance: Float32Array | null): RoundedRows => {
    const blocks = new Uint8Array((values.length / size) * bytes);
    solver.roundBlocks({ type, cols, values, importance, isSearched, blocks });
    const weight = readBlocks({ type, rows: values.length / cols, cols, data: blocks })!;
    return { blocks, values: withoutNegativeZeros(dequantize(weight)) };
  };
  const choice = inputs === null ? null : new HeldOutChoice(inputs, solver);
  return {
    encode: ({ values, firstRow }) => {
      const plain = round(values, null);
      const { blocks, values: read } =
        choice?.keepBest(values, plain, round(values, inputs!.importance)) ?? plain;
      return { pieces: [file.matrixPiece(module, blocks, firstRow)], values: read };
    },
    outcome: () => choice?.outcome() ?? null,
  };
}

/** Takes the rows of a second try whose outputs are nearer to those of the floats on the held-out input. */
class HeldOutChoice {
  readonly #inputs: LinearInputs;
  readonly #solver: Solver;
  #error = 0;
  #output = 0;
  #numPlain = 0;
  #numWeighted = 0;

  constructor(inputs: LinearInputs, solver: Solver) {
    this.#inputs = inputs;
    this.#solver = solver;
  }

  /** Rows of `weighted` are put in place of those of `plain`. */
  keepBest(wanted: Float32Array, plain: RoundedRows, weighted: RoundedRows): RoundedRows {
    const { heldOutGram, cols } = this.#inputs.statistics;
    const forms = (values: Float32Array): Float64Array =>
      this.#solver.quadraticForms(values, heldOutGram, cols);
    const [first, second] = [plain, weighted].map(({ values }) =>
      forms(wanted.map((value, i) => value - values[i]!)),
    ) as [Float64Array, Float64Array];
    const rowBytes = (plain.blocks.length * cols) / wanted.length;
    for (const [row, error] of first.entries()) {
      const isBetter = second[row]! < error;
      this.#error += isBetter ? second[row]! : error;
      this.#numPlain += isBetter ? 0 : 1;
      this.#numWeighted += isBetter ? 1 : 0;
      if (!isBetter) continue;
      plain.values.set(weighted.values.subarray(row * cols, (row + 1) * cols), row * cols);
      plain.blocks.set(weighted.blocks.subarray(row * rowBytes, (row + 1) * rowBytes), row * rowBytes);
    }
    this.#output += forms(wanted).reduce((sum, value) => sum + value, 0);
    return plain;
  }

  outcome(): { readonly outputError: number; readonly rows: Readonly<Record<string, number>> } {
    return {
      outputError: this.#output > 0 ? Math.sqrt(Math.max(0, this.#error) / this.#output) : 0,
      rows: { mse: this.#numPlain, imatrix: this.#numWeighted },
    };
  }
}

/** Both zeros count as one when values are compared. */
function withoutNegativeZeros(values: Float32Array): Float32Array {
  for (let i = 0; i < values.length; i += 1) values[i] = values[i]! + 0;
  return values;
}
