import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { KvDtype, Ops, RaggedBatch } from "../../src/kernels/ops.ts";
import type { PrecisionOptions } from "../../src/model/causal-model.ts";
import { computeLogits } from "../../src/model/forward-once.ts";
import { type LoadedModel, loadModel } from "../../src/model/load-model.ts";
import { checkLoadable } from "../../src/model/plan-model.ts";

export const exact: PrecisionOptions = { dtype: "auto", activations: "f32" };

/** Loads a model for sequences of at most `maxModelLen` tokens. */
export function openModel(
  ops: Ops,
  path: string,
  precision: PrecisionOptions = exact,
  maxModelLen: number = 256,
): LoadedModel {
  const checkpoint = openCheckpoint(path);
  try {
    // What loads must never be refused by a look at the headers.
    checkLoadable(checkpoint);
    return loadModel(ops, checkpoint, { ...precision, maxModelLen });
  } finally {
    checkpoint.close();
  }
}

/** Logits of every position, [tokens, vocabSize]. */
export function promptLogits(
  ops: Ops,
  { model }: LoadedModel,
  tokens: readonly number[],
  kvDtype: KvDtype = "f32",
): Float32Array {
  const logits = new Float32Array(tokens.length * model.vocabSize);
  computeLogits({ ops, model, tokenIds: Int32Array.from(tokens), kvDtype }, (firstRow, rows) => {
    logits.set(rows, firstRow * model.vocabSize);
  });
  return logits;
}

/** Logits of every position, each token a step of its own, in scattered blocks of an odd size. */
export function decodeLogits(ops: Ops, { model }: LoadedModel, tokens: readonly number[]): Float32Array {
  const blockSize = 7;
  const numBlocks = Math.ceil(tokens.length / blockSize);
  const blockTables = Int32Array.from({ length: numBlocks }, (_, block) => numBlocks - 1 - block);
  const cache = ops.createKvCache({ ...model.kvShape, numBlocks, blockSize, dtype: "f32" });
  const logits = new Float32Array(tokens.length * model.vocabSize);
  for (const [position, token] of tokens.entries()) {
    const slot = blockTables[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
    const batch: RaggedBatch = {
      numTokens: 1,
      numSeqs: 1,
      tokenIds: Int32Array.of(token),
      positions: Int32Array.of(position),
      slots: Int32Array.of(slot),
      queryStarts: Int32Array.of(0, 1),
      contextLengths: Int32Array.of(position + 1),
      blockTables,
      blockTableStride: numBlocks,
    };
    ops.beginStep(batch);
    const normed = model.finalNorm(model.forward(cache), Int32Array.of(0), 1);
    ops.read(
      model.logits(normed),
      logits.subarray(position * model.vocabSize, (position + 1) * model.vocabSize),
    );
    ops.endStep();
  }
  return logits;
}

export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}

export function logSoftmax(values: Float32Array): Float64Array {
  const max = values.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - max);
  return Float64Array.from(values, (value) => value - max - Math.log(sum));
}
