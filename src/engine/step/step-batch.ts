import type { RaggedBatch } from "../../kernels/ops.ts";

/** What a step computes: for each sequence the last `numTokens` of a context. */
export interface StepShape {
  readonly numSequences: number;
  /** Query tokens of each sequence. */
  readonly numTokens: number;
  /** Tokens of each sequence once this step's are in the cache. */
  readonly contextLength: number;
}

/** The batch of a step, with blocks of `blockSize` tokens in order. */
export function batchOf(shape: StepShape, vocabSize: number, blockSize: number): RaggedBatch {
  const { numSequences, numTokens, contextLength } = shape;
  const stride = Math.ceil(contextLength / blockSize);
  const total = numSequences * numTokens;
  const start = contextLength - numTokens;
  const positions = Int32Array.from({ length: total }, (_, i) => start + (i % numTokens));
  return {
    numTokens: total,
    numSeqs: numSequences,
    tokenIds: Int32Array.from({ length: total }, (_, i) => (i * 7919 + 13) % vocabSize),
    positions,
    slots: positions.map((position, i) => Math.floor(i / numTokens) * stride * blockSize + position),
    queryStarts: Int32Array.from({ length: numSequences + 1 }, (_, s) => s * numTokens),
    contextLengths: new Int32Array(numSequences).fill(contextLength),
    blockTables: Int32Array.from({ length: numSequences * stride }, (_, i) => i),
    blockTableStride: stride,
  };
}

/** The last token of each sequence. */
export function rowsThatDraw({ numSeqs, queryStarts }: RaggedBatch): Int32Array {
  return Int32Array.from({ length: numSeqs }, (_, s) => queryStarts[s + 1]! - 1);
}
