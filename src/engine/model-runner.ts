import type { KvCache, KvHost, Ops, Tensor } from "../kernels/ops.ts";
import type { ScoreOutput } from "../kernels/sampling.ts";
import type { CausalModel } from "../model/causal-model.ts";
import type { AdapterTable } from "./adapters/adapter-table.ts";
import { BatchBuilder } from "./batch-builder.ts";
import type { KvMoveList } from "./kv-move-list.ts";
import type { Sampler } from "./sampler.ts";
import type { SchedulerLimits, StepPlan } from "./scheduler.ts";
import type { ScoreTable } from "./score-table.ts";
import { type SequenceTable, sequenceKinds } from "./sequence-table.ts";

export interface ModelRunnerParts {
  readonly ops: Ops;
  readonly model: CausalModel;
  readonly cache: KvCache;
  readonly host: KvHost | null;
  readonly moves: KvMoveList;
  readonly adapters: AdapterTable | null;
  readonly table: SequenceTable;
  readonly sampler: Sampler;
  readonly scores: ScoreTable;
  readonly limits: SchedulerLimits;
  readonly maxModelLen: number;
}

/**
 * Turns a plan into one ragged batch, runs the model on it, draws tokens for the sequences that have caught up and
 * scores targets. Every array is made once, for the largest step, and reused.
 */
export class ModelRunner {
  /** Rows of the sequence table that drew tokens in the last step; index i drew `sampler.output` row i. */
  readonly sampledRows: Int32Array;
  /** [numSampled] how many guesses stand between the row's last known token and this draw. */
  readonly sampledOffsets: Int32Array;
  numSampled = 0;
  readonly #parts: ModelRunnerParts;
  readonly #builder: BatchBuilder;
  /** [numSampled] rows of the hidden states whose logits are wanted. */
  readonly #logitRows: Int32Array;
  /** [numScored] rows of the hidden states that are scored, and the token that each has to predict. */
  readonly #scoreRows: Int32Array;
  readonly #scoreTargets: Int32Array;
  #numScored = 0;
  #scoreOutput: ScoreOutput | null = null;

  constructor(parts: ModelRunnerParts) {
    const { maxNumSeqs, maxNumBatchedTokens } = parts.limits;
    this.#parts = parts;
    const maxBlocks = parts.table.blocksFor(parts.maxModelLen);
    this.#builder = new BatchBuilder(parts.table, maxNumSeqs, maxNumBatchedTokens, maxBlocks);
    this.sampledRows = new Int32Array(parts.sampler.maxRows);
    this.sampledOffsets = new Int32Array(parts.sampler.maxRows);
    this.#logitRows = new Int32Array(parts.sampler.maxRows);
    this.#scoreRows = new Int32Array(maxNumBatchedTokens);
    this.#scoreTargets = new Int32Array(maxNumBatchedTokens);
  }

  /** Runs one step. Drawn tokens are then in the sampler's output, scores in the score table. */
  run(plan: StepPlan): Promise<void> | undefined {
    const { ops, model, cache, host, moves } = this.#parts;
    this.#build(plan);
    ops.beginStep(this.#builder.batch);
    try {
      if (moves.count > 0) ops.moveKv(cache, host, moves);
      const hidden = model.forward(cache);
      this.#sample(hidden);
      this.#score(hidden, plan);
      return ops.flush();
    } finally {
      moves.clear();
      ops.endStep();
    }
  }

  #sample(hidden: Tensor): void {
    if (this.numSampled === 0) return;
    const { model, sampler } = this.#parts;
    const normed = model.finalNorm(hidden, this.#logitRows, this.numSampled);
    sampler.sample(model.logits(normed), this.sampledRows, this.sampledOffsets, this.numSampled);
  }

  /** Scores all wanted rows in one call, with the largest asked top-k: the smaller ones are its prefixes. */
  #score(hidden: Tensor, plan: StepPlan): void {
    if (this.#numScored === 0) return;
    const { ops, model } = this.#parts;
    const output = this.#reserveScores(this.#maxTopK(plan));
    const normed = model.finalNorm(hidden, this.#scoreRows, this.#numScored);
    const targets = this.#scoreTargets.subarray(0, this.#numScored);
    ops.scoreTargets(normed, model.head, targets, output, model.logitSoftCap);
    this.#collectScores(plan, output);
  }

  #build(plan: StepPlan): void {
    const { table, adapters } = this.#parts;
    const builder = this.#builder;
    adapters?.beginBatch();
    this.numSampled = 0;
    this.#numScored = 0;
    builder.clear();
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      const count = plan.numNewTokens[index]!;
      const first = table.numComputed[row]!;
      builder.add(row, first, count);
      const end = builder.batch.numTokens;
      adapters?.addTokens(row, end - count, count);
      if (table.kind[row] === sequenceKinds.score) this.#wantScores(row, count, end - count);
      else this.#wantLogits(row, first + count - table.numTokens[row]!, end - 1);
    }
  }

  /** A draw after the last known token, if it is reached, and one after each of the `numDrafts` guesses. */
  #wantLogits(row: number, numDrafts: number, lastHiddenRow: number): void {
    for (let offset = 0; offset <= numDrafts; offset += 1) {
      this.sampledRows[this.numSampled] = row;
      this.sampledOffsets[this.numSampled] = offset;
      this.#logitRows[this.numSampled] = lastHiddenRow - numDrafts + offset;
      this.numSampled += 1;
    }
  }

  /** The row of position p predicts token p + 1, which is scored when p + 1 ≥ start. */
  #wantScores(row: number, count: number, at: number): void {
    const { table, scores } = this.#parts;
    const ids = table.tokenIds(row);
    const first = table.numComputed[row]!;
    const start = scores.start(row);
    for (let position = Math.max(first, start - 1); position < first + count; position += 1) {
      this.#scoreRows[this.#numScored] = at + position - first;
      this.#scoreTargets[this.#numScored] = ids[position + 1]!;
      this.#numScored += 1;
    }
  }

  #maxTopK(plan: StepPlan): number {
    const { table, scores } = this.#parts;
    let topK = 0;
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      if (table.kind[row] === sequenceKinds.score) topK = Math.max(topK, scores.topK(row));
    }
    return topK;
  }

  #reserveScores(topK: number): ScoreOutput {
    const count = this.#numScored;
    const kept = this.#scoreOutput;
    if (kept !== null && kept.topK === topK && kept.logprobs.length >= count) return kept;
    this.#scoreOutput = {
      logprobs: new Float32Array(count),
      argmax: new Int32Array(count),
      topK,
      topIds: new Int32Array(count * topK),
      topLogprobs: new Float32Array(count * topK),
    };
    return this.#scoreOutput;
  }

  /** Copies this step's scores to where they belong in each request's result, in the order of `#wantScores`. */
  #collectScores(plan: StepPlan, output: ScoreOutput): void {
    const { table, scores } = this.#parts;
    let source = 0;
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      if (table.kind[row] !== sequenceKinds.score) continue;
      const first = table.numComputed[row]!;
      const start = scores.start(row);
      const topK = scores.topK(row);
      const result = scores.result(row);
      const end = first + plan.numNewTokens[index]!;
      for (let position = Math.max(first, start - 1); position < end; position += 1) {
        const target = position + 1 - start;
        result.logprobs[target] = output.logprobs[source]!;
        result.argmax[target] = output.argmax[source]!;
        for (let rank = 0; rank < topK; rank += 1) {
          result.topIds[target * topK + rank] = output.topIds[source * output.topK + rank]!;
          result.topLogprobs[target * topK + rank] = output.topLogprobs[source * output.topK + rank]!;
        }
        source += 1;
      }
    }
  }
}
