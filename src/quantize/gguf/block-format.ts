import type { IntegerWeight } from "../../base/weights.ts";
import { readBlocks } from "../../formats/gguf/blocks.ts";
import { blockCodeRange, putBlockCodes } from "../../kernels/block-codes.ts";
import { type BlockType, blockTraits } from "../../kernels/block-types.ts";
import type { Solver } from "../../kernels/solver.ts";
import type { GptqFactors } from "../gptq.ts";
import type { RowBand } from "../output-format.ts";
import { readValues } from "../read-values.ts";
import type { RoundedRows, RowFormat } from "../row-rounder.ts";

export interface BlockRows extends RoundedRows {
  readonly blocks: Uint8Array;
  readonly weight: IntegerWeight;
}

/** Blocks of a GGUF file. */
export class BlockRowFormat implements RowFormat<BlockRows> {
  readonly #type: BlockType;
  readonly #cols: number;
  readonly #isSearched: boolean;
  readonly #solver: Solver;

  /** `isSearched`: scales are searched for, not taken from the range of each group. */
  constructor(type: BlockType, cols: number, isSearched: boolean, solver: Solver) {
    this.#type = type;
    this.#cols = cols;
    this.#isSearched = isSearched;
    this.#solver = solver;
  }

  round({ values }: RowBand, importance: Float32Array | null): BlockRows {
    const { size, bytes } = blockTraits[this.#type];
    const blocks = new Uint8Array((values.length / size) * bytes);
    this.#solver.roundBlocks({
      type: this.#type,
      cols: this.#cols,
      values,
      importance,
      isSearched: this.#isSearched,
      blocks,
    });
    return this.#read(blocks);
  }

  passErrorsOn({ values }: RowBand, rounded: BlockRows, { order, upper }: GptqFactors): BlockRows {
    const { scales, minimums, groupSize } = rounded.weight;
    const codes = this.#solver.roundRows({
      cols: this.#cols,
      values,
      range: blockCodeRange(this.#type),
      groupSize,
      scales,
      minimums,
      order,
      upper,
    });
    const blocks = rounded.blocks.slice();
    putBlockCodes(this.#type, codes, blocks);
    return this.#read(blocks);
  }

  #read(blocks: Uint8Array): BlockRows {
    const { size, bytes } = blockTraits[this.#type];
    const rows = ((blocks.length / bytes) * size) / this.#cols;
    const weight = readBlocks({ type: this.#type, rows, cols: this.#cols, data: blocks }) as IntegerWeight;
    return { blocks, weight, values: readValues(weight, this.#solver), parts: [blocks] };
  }
}
