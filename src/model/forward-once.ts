import type { KvDtype, Ops, RaggedBatch } from "../kernels/ops.ts";
import type { CausalModel } from "./causal-model.ts";

export interface ForwardOptions {
  readonly model: CausalModel;
  readonly ops: Ops;
  readonly tokenIds: Int32Array;
  readonly kvDtype: KvDtype;
  /** Tokens per step; the result does not depend on it. */
  readonly chunkSize?: number;
}

const blockSize = 32;
/** Rows of logits held at once. */
const slabRows = 64;

/**
 * Runs one prompt through a cache of its own and hands over its logits slab by slab.
 *
 * @param onRows receives the first row's index and f32 [count, vocabSize]; the array is reused
 */
export function computeLogits(
  options: ForwardOptions,
  onRows: (firstRow: number, rows: Float32Array) => void,
): void {
  const { model, ops, tokenIds, kvDtype, chunkSize = 512 } = options;
  const numBlocks = Math.ceil(tokenIds.length / blockSize);
  const cache = ops.createKvCache({ ...model.kvShape, numBlocks, blockSize, dtype: kvDtype });
  const slab = new Float32Array(slabRows * model.vocabSize);
  for (let start = 0; start < tokenIds.length; start += chunkSize) {
    const count = Math.min(chunkSize, tokenIds.length - start);
    const batch = batchOf(tokenIds, start, count, numBlocks);
    ops.beginStep(batch);
    try {
      const hidden = model.forward(batch, cache);
      for (let row = 0; row < count; row += slabRows) {
        const rows = Math.min(slabRows, count - row);
        const indices = Int32Array.from({ length: rows }, (_, index) => row + index);
        const logits = model.logits(model.finalNorm(hidden, indices, rows));
        const view = slab.subarray(0, rows * model.vocabSize);
        ops.read(logits, view);
        onRows(start + row, view);
      }
    } finally {
      ops.endStep();
    }
  }
}

/** Tokens [start, start + count) of a single sequence that owns blocks 0, 1, 2 … */
function batchOf(tokenIds: Int32Array, start: number, count: number, numBlocks: number): RaggedBatch {
  const positions = Int32Array.from({ length: count }, (_, index) => start + index);
  return {
    numTokens: count,
    numSeqs: 1,
    tokenIds: tokenIds.subarray(start, start + count),
    positions,
    slots: positions,
    queryStarts: Int32Array.of(0, count),
    contextLengths: Int32Array.of(start + count),
    blockTables: Int32Array.from({ length: numBlocks }, (_, index) => index),
    blockTableStride: numBlocks,
  };
}
