import { invariant } from "../base/invariant.ts";
import type { KvDtype, Ops, RaggedBatch } from "../kernels/ops.ts";
import type { CausalModel } from "./causal-model.ts";

export interface ForwardOnce {
  readonly ops: Ops;
  readonly model: CausalModel;
  /** One sequence from position 0 on, at least one token. */
  readonly tokenIds: Int32Array;
  readonly kvDtype: KvDtype;
}

/** Tokens of one step, and rows of logits that exist at a time: 64 rows of a vocabulary of 150,000 take 38 MB. */
const tokensPerStep = 64;

/** Tokens of a KV block, as in the engine. No result depends on it. */
const blockSize = 32;

/**
 * Runs one prompt through a KV cache of its own, which lives until `ops.close`, and hands out the logits of every
 * position.
 *
 * @param onRows called in order with slabs [at most 64, vocabSize] of f32 logits that start at row `firstRow`; the
 *   array is reused by the next slab
 */
export function computeLogits(
  { ops, model, tokenIds, kvDtype }: ForwardOnce,
  onRows: (firstRow: number, rows: Float32Array) => void,
): void {
  const total = tokenIds.length;
  invariant(total > 0, "a prompt has at least one token");
  const numBlocks = Math.ceil(total / blockSize);
  const cache = ops.createKvCache({ ...model.kvShape, numBlocks, blockSize, dtype: kvDtype });
  const rows = Int32Array.from({ length: Math.min(tokensPerStep, total) }, (_, row) => row);
  const slab = new Float32Array(rows.length * model.vocabSize);
  for (let first = 0; first < total; first += tokensPerStep) {
    const batch = oneSequence(tokenIds, first, Math.min(tokensPerStep, total - first), numBlocks);
    ops.beginStep(batch);
    try {
      const normed = model.finalNorm(model.forward(batch, cache), rows, batch.numTokens);
      const chunk = slab.subarray(0, batch.numTokens * model.vocabSize);
      ops.read(model.logits(normed), chunk);
      onRows(first, chunk);
    } finally {
      ops.endStep();
    }
  }
}

/** Tokens [first, first + count) of a sequence that holds blocks 0 … numBlocks − 1 in order. */
function oneSequence(tokenIds: Int32Array, first: number, count: number, numBlocks: number): RaggedBatch {
  const positions = Int32Array.from({ length: count }, (_, i) => first + i);
  return {
    numTokens: count,
    numSeqs: 1,
    tokenIds: tokenIds.subarray(first, first + count),
    positions,
    slots: positions,
    queryStarts: Int32Array.of(0, count),
    contextLengths: Int32Array.of(first + count),
    blockTables: Int32Array.from({ length: numBlocks }, (_, block) => block),
    blockTableStride: numBlocks,
  };
}
