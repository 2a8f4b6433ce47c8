import type { Weight } from "../../base/weights.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { readBlocks } from "../../formats/gguf/blocks.ts";
import { type BlockType, blockTraits } from "../../kernels/block-types.ts";
import type { Solver } from "../../kernels/solver.ts";
import { readValues } from "../read-values.ts";

/** What a matrix becomes in a block type. */
export interface TriedType {
  /** Σ (w − rounded w)² */
  readonly squaredError: number;
  readonly sizeBytes: number;
  /** As a reader of the file gets it. */
  readonly weight: Weight;
}

/** Block types that rows of `cols` columns fill, fewest bytes first. */
export function typesFor(cols: number): readonly BlockType[] {
  const fitting = (Object.keys(blockTraits) as BlockType[]).filter(
    (type) => cols % blockTraits[type].size === 0,
  );
  const bytesOf = (type: BlockType): number => blockTraits[type].bytes / blockTraits[type].size;
  return fitting.toSorted((a, b) => bytesOf(a) - bytesOf(b));
}

/** Rounds a whole matrix to a type, with searched scales. */
export function tryType(checkpoint: Checkpoint, module: string, type: BlockType, solver: Solver): TriedType {
  const source = checkpoint.linear(module);
  const { rows, cols } = source;
  const values = readValues(source, solver);
  const { size, bytes } = blockTraits[type];
  const blocks = new Uint8Array((values.length / size) * bytes);
  solver.roundBlocks({ type, cols, values, importance: null, isSearched: true, blocks });
  const weight = readBlocks({ type, rows, cols, data: blocks })!;
  const { error } = solver.squaredErrors(values, readValues(weight, solver), cols);
  return { squaredError: error, sizeBytes: blocks.length, weight };
}
