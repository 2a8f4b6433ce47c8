import type { KvCache, Ops } from "../../kernels/ops.ts";
import type { CausalModel } from "../../model/causal-model.ts";
import { BatchBuilder } from "../batch-builder.ts";
import type { Sampler } from "../sampler.ts";
import type { SequenceTable } from "../sequence-table.ts";
import type { DraftProposer } from "./draft-proposer.ts";

export interface DraftModelParts {
  readonly ops: Ops;
  readonly model: CausalModel;
  /** As many blocks of the same size as the target's cache: both use one block table. */
  readonly cache: KvCache;
  readonly table: SequenceTable;
  /** The target's: guesses are drawn as the target draws, with the same random numbers. */
  readonly sampler: Sampler;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly maxModelLen: number;
}

/**
 * A smaller model guesses (Leviathan et al. 2023, Fast Inference from Transformers via Speculative Decoding). It keeps
 * its own K and V under the target's block tables. Where a block holds none of its own, after a prefix hit or a swap,
 * its guesses are worse and nothing else.
 */
export class DraftModelProposer implements DraftProposer {
  readonly #parts: DraftModelParts;
  readonly #builder: BatchBuilder;
  /** By row: known tokens that the draft has computed. */
  readonly #numComputed: Int32Array;
  readonly #active: Int32Array;
  readonly #depths: Int32Array;
  readonly #drafts: Int32Array;
  readonly #logitRows: Int32Array;
  readonly #offsets: Int32Array;

  constructor(parts: DraftModelParts, maxDrafts: number) {
    const { table, maxNumSeqs, maxNumBatchedTokens, maxModelLen } = parts;
    this.#parts = parts;
    this.#builder = new BatchBuilder(table, maxNumSeqs, maxNumBatchedTokens, table.blocksFor(maxModelLen));
    this.#numComputed = new Int32Array(table.capacity);
    this.#active = new Int32Array(maxNumSeqs);
    this.#depths = new Int32Array(maxNumSeqs);
    this.#drafts = new Int32Array(maxNumSeqs * maxDrafts);
    this.#logitRows = new Int32Array(maxNumSeqs);
    this.#offsets = new Int32Array(maxNumSeqs);
  }

  propose(rows: Int32Array, depths: Int32Array, count: number): void {
    let numActive = this.#catchUp(rows, depths, count);
    for (let draft = 0; numActive > 0; draft += 1) {
      this.#draw(numActive, draft);
      numActive = this.#keep(numActive, draft + 1);
      this.#builder.clear();
      for (let index = 0; index < numActive; index += 1) {
        const row = this.#active[index]!;
        this.#builder.add(row, this.#parts.table.numTokens[row]! + draft, 1);
      }
    }
  }

  forget(row: number): void {
    this.#numComputed[row] = 0;
  }

  /** Puts into the batch what the draft has not seen of each row, as far as a step holds it. */
  #catchUp(rows: Int32Array, depths: Int32Array, count: number): number {
    const { table, maxNumBatchedTokens } = this.#parts;
    const { batch } = this.#builder;
    let numActive = 0;
    this.#builder.clear();
    for (let index = 0; index < count; index += 1) {
      const row = rows[index]!;
      const first = this.#numComputed[row]!;
      const missing = table.numTokens[row]! - first;
      if (depths[index]! < 1 || missing > maxNumBatchedTokens - batch.numTokens) continue;
      this.#builder.add(row, first, missing);
      this.#numComputed[row] = table.numTokens[row]!;
      this.#active[numActive] = row;
      this.#depths[numActive] = depths[index]!;
      numActive += 1;
    }
    return numActive;
  }

  #draw(numActive: number, draft: number): void {
    const { ops, model, cache, sampler } = this.#parts;
    const { batch } = this.#builder;
    for (let index = 0; index < numActive; index += 1) {
      this.#logitRows[index] = batch.queryStarts[index + 1]! - 1;
      this.#offsets[index] = draft;
    }
    ops.beginStep(batch);
    try {
      const normed = model.finalNorm(model.forward(batch, cache), this.#logitRows, numActive);
      sampler.sample(model.logits(normed), this.#active, this.#offsets, numActive);
    } finally {
      ops.endStep();
    }
  }

  /** Appends the drawn guesses and keeps the rows that want more; a row without a draw ends. */
  #keep(numActive: number, numDrafts: number): number {
    const { table, sampler } = this.#parts;
    const maxDrafts = this.#drafts.length / this.#active.length;
    let kept = 0;
    for (let index = 0; index < numActive; index += 1) {
      const row = this.#active[index]!;
      const tokenId = sampler.output.tokenIds[index]!;
      if (tokenId < 0 || Number.isNaN(sampler.output.logprobs[index]!)) continue;
      const drafts = this.#drafts.subarray(index * maxDrafts, (index + 1) * maxDrafts);
      const target = this.#drafts.subarray(kept * maxDrafts, (kept + 1) * maxDrafts);
      drafts[numDrafts - 1] = tokenId;
      table.setDrafts(row, drafts, numDrafts);
      if (numDrafts >= this.#depths[index]!) continue;
      target.set(drafts);
      this.#active[kept] = row;
      this.#depths[kept] = this.#depths[index]!;
      kept += 1;
    }
    return kept;
  }
}
