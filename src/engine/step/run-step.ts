import type { KvCache, Ops, RaggedBatch } from "../../kernels/ops.ts";
import type { SamplingOutput } from "../../kernels/sampling.ts";
import type { CausalModel } from "../../model/causal-model.ts";
import { SamplingColumns } from "../sampling-columns.ts";
import { batchOf, rowsThatDraw } from "./step-batch.ts";

export interface StepSeconds {
  /** From the embedding to the last layer. */
  readonly layers: number;
  /** The last norm, the head, and a greedy draw for each sequence. */
  readonly head: number;
}

/** Runs one whole step, from tokens to drawn tokens. */
export function runStep(ops: Ops, model: CausalModel, cache: KvCache, batch: RaggedBatch): StepSeconds {
  const { numSeqs } = batch;
  const rows = rowsThatDraw(batch);
  const columns = greedyColumns(numSeqs);
  const out = emptyOutput(numSeqs);
  const start = performance.now();
  ops.beginStep(batch);
  const hidden = model.forward(cache);
  const headStart = performance.now();
  ops.sample(model.logits(model.finalNorm(hidden, rows, numSeqs)), columns.batch, out);
  ops.endStep();
  return { layers: (headStart - start) / 1000, head: (performance.now() - headStart) / 1000 };
}

/** Draws the most likely token of each row: temperature 0, all tokens allowed, a repetition penalty that changes nothing. */
function greedyColumns(numRows: number): SamplingColumns {
  const columns = new SamplingColumns(numRows);
  columns.begin(numRows);
  columns.batch.topP.fill(1);
  columns.batch.maskRows.fill(-1);
  for (let row = 0; row < numRows; row += 1) columns.batch.penalties[3 * row] = 1;
  return columns;
}

function emptyOutput(numRows: number): SamplingOutput {
  return {
    tokenIds: new Int32Array(numRows),
    logprobs: new Float32Array(numRows),
    ranks: new Int32Array(numRows),
    maxLogprobs: 0,
    topIds: new Int32Array(0),
    topLogprobs: new Float32Array(0),
  };
}

/** Writes to every block, so that attention reads memory of its own and not the system's one page of zeros. */
export function writePages(ops: Ops, model: CausalModel, cache: KvCache): void {
  const { blockSize } = cache;
  for (let block = 0; block < cache.numBlocks; block += 1) {
    // As many sequences as a block has tokens: a model may be made for fewer positions.
    const shape = { numSequences: blockSize, numTokens: 1, contextLength: 1 };
    const batch = batchOf(shape, model.vocabSize, blockSize);
    batch.blockTables.fill(block);
    for (let i = 0; i < blockSize; i += 1) batch.slots[i] = block * blockSize + i;
    if (block === 0) {
      ops.beginStep(batch);
      model.forward(cache);
      ops.endStep();
      continue;
    }
    const one = Int32Array.of(0);
    const moves = { count: 1, kinds: Uint8Array.of(0), sources: one, targets: Int32Array.of(block) };
    ops.moveKv(cache, null, { ...moves, numTokens: Int32Array.of(blockSize) });
  }
}
