import { invariant } from "../base/invariant.ts";
import type { RowDivergences } from "../base/row-divergences.ts";
import type { KvCache, KvDtype, Ops, RaggedBatch, Tensor } from "../kernels/ops.ts";
import type { CausalModel } from "./causal-model.ts";

/** Tokens of one step, and rows of logits that exist at a time: 64 rows of a vocabulary of 150,000 take 38 MB. */
const maxRows = 64;

/** Tokens of a KV block, as in the engine. No result depends on it. */
const blockSize = 32;

export interface SequenceLogitsParts {
  readonly ops: Ops;
  readonly model: CausalModel;
  readonly kvDtype: KvDtype;
  /** Most tokens of a sequence; the KV cache for them lives until `ops.close`. */
  readonly maxTokens: number;
}

/** Logits of one sequence after the other, each through the same KV cache. */
export class SequenceLogits {
  readonly vocabSize: number;
  /** Most tokens that one `read` takes. */
  readonly maxRows: number = maxRows;
  readonly #parts: SequenceLogitsParts;
  readonly #cache: KvCache;
  readonly #numBlocks: number;
  readonly #rows: Int32Array = Int32Array.from({ length: maxRows }, (_, row) => row);

  constructor(parts: SequenceLogitsParts) {
    const { ops, model, kvDtype, maxTokens } = parts;
    this.#parts = parts;
    this.vocabSize = model.vocabSize;
    this.#numBlocks = Math.ceil(maxTokens / blockSize);
    this.#cache = ops.createKvCache({
      ...model.kvShape,
      numBlocks: this.#numBlocks,
      blockSize,
      dtype: kvDtype,
    });
  }

  /**
   * Computes tokens [first, first + count) of a sequence whose earlier tokens came before, and writes the logits of the
   * token after each into `rows`, [count, vocabSize] f32. `first` = 0 begins another sequence.
   */
  read(tokenIds: Int32Array, first: number, count: number, rows: Float32Array): void {
    const { ops, model } = this.#parts;
    this.#compute(tokenIds, first, count, (logits) =>
      ops.read(logits, rows.subarray(0, count * model.vocabSize)),
    );
  }

  /**
   * Computes as many tokens as `out` has entries, from `first` on, as `read` does, and how far the distributions are from
   * those of the logits A, [count, vocabSize] f32. The sequence holds the token after each.
   */
  diverge(tokenIds: Int32Array, first: number, logitsA: Float32Array, out: RowDivergences): void {
    const { ops } = this.#parts;
    const count = out.kl.length;
    const targets = tokenIds.subarray(first + 1, first + 1 + count);
    this.#compute(tokenIds, first, count, (logits) => ops.diverge(logits, logitsA, targets, out));
  }

  #compute(tokenIds: Int32Array, first: number, count: number, use: (logits: Tensor) => void): void {
    const { ops, model, maxTokens } = this.#parts;
    invariant(count > 0 && count <= maxRows && first + count <= maxTokens, "the tokens fit");
    const batch = oneSequence(tokenIds, first, count, this.#numBlocks);
    ops.beginStep(batch);
    try {
      const normed = model.finalNorm(model.forward(this.#cache), this.#rows, count);
      use(model.logits(normed));
    } finally {
      ops.endStep();
    }
  }
}

export interface ForwardOnce extends Omit<SequenceLogitsParts, "maxTokens"> {
  /** One sequence from position 0 on, at least one token. */
  readonly tokenIds: Int32Array;
}

/**
 * Runs one prompt through a KV cache of its own and hands out the logits of every position.
 *
 * @param onRows called in order with slabs [at most 64, vocabSize] of f32 logits that start at row `firstRow`; the
 *   array is reused by the next slab
 */
export function computeLogits(
  { tokenIds, ...parts }: ForwardOnce,
  onRows: (firstRow: number, rows: Float32Array) => void,
): void {
  const total = tokenIds.length;
  invariant(total > 0, "a prompt has at least one token");
  const source = new SequenceLogits({ ...parts, maxTokens: total });
  const slab = new Float32Array(Math.min(maxRows, total) * source.vocabSize);
  for (let first = 0; first < total; first += maxRows) {
    const count = Math.min(maxRows, total - first);
    source.read(tokenIds, first, count, slab);
    onRows(first, slab.subarray(0, count * source.vocabSize));
  }
}

/** A step of tokens [first, first + count) of a sequence that holds blocks 0 … numBlocks − 1 in order. */
export function oneSequence(
  tokenIds: Int32Array,
  first: number,
  count: number,
  numBlocks: number,
): RaggedBatch {
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
