import type { KvCache, Ops } from "../../kernels/ops.ts";
import type { CausalModel } from "../../model/causal-model.ts";
import { BatchBuilder } from "../batch-builder.ts";
import type { Sampler } from "../sampler.ts";
import type { SequenceTable } from "../sequence-table.ts";
import { StepTimes } from "../step-times.ts";
import type { DraftCoverage } from "./draft-coverage.ts";
import type { DraftProposer } from "./draft-proposer.ts";

export interface DraftModel {
  readonly model: CausalModel;
  /** As many blocks of the same size as the target's cache: both use one block table. */
  readonly cache: KvCache;
  /** Longest context that the draft takes; longer sequences get no guesses. */
  readonly maxModelLen: number;
}

export interface DraftModelParts {
  readonly ops: Ops;
  readonly draft: DraftModel;
  readonly coverage: DraftCoverage;
  readonly table: SequenceTable;
  /** The target's: guesses are drawn as the target draws, with the same random numbers. */
  readonly sampler: Sampler;
  readonly maxDrafts: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  /** The target's longest context. */
  readonly maxModelLen: number;
}

/** Passes with fewer tokens do not say how fast a prompt is computed. */
const minPrefillTokens = 32;
const outlierFactor = 2;

/**
 * A smaller model guesses (Leviathan et al. 2023, Fast Inference from Transformers via Speculative Decoding). It keeps
 * its own K and V under the target's block tables, and computes what it has not seen of a row when it is asked for
 * guesses: at most `maxNumBatchedTokens` at once, so that a long prompt takes several steps and holds up none of them.
 */
export class DraftModelProposer implements DraftProposer {
  readonly #parts: DraftModelParts;
  readonly #builder: BatchBuilder;
  /** How long passes of the draft take. */
  readonly #times: StepTimes = new StepTimes(outlierFactor);
  /** [maxNumSeqs] rows that get a guess from this pass, how many each wants, and the hidden rows to draw from. */
  readonly #active: Int32Array;
  readonly #depths: Int32Array;
  readonly #logitRows: Int32Array;
  readonly #offsets: Int32Array;
  /** [maxNumSeqs, maxDrafts] */
  readonly #drafts: Int32Array;
  /** [rows] how many of the last guesses the draft has computed itself: all but the last. */
  readonly #numComputedDrafts: Int32Array;

  constructor(parts: DraftModelParts) {
    const { table, maxDrafts, maxNumSeqs, maxNumBatchedTokens, maxModelLen } = parts;
    this.#parts = parts;
    this.#builder = new BatchBuilder(table, maxNumSeqs, maxNumBatchedTokens, table.blocksFor(maxModelLen));
    this.#active = new Int32Array(maxNumSeqs);
    this.#depths = new Int32Array(maxNumSeqs);
    this.#logitRows = new Int32Array(maxNumSeqs);
    this.#offsets = new Int32Array(maxNumSeqs);
    this.#drafts = new Int32Array(maxNumSeqs * maxDrafts);
    this.#numComputedDrafts = new Int32Array(table.capacity);
  }

  /** The first pass computes two tokens of a row whose last guesses were all right: the last guess and what followed. */
  proposeMs(numRows: number, depth: number): number {
    return this.#times.stepMs(2 * numRows) + (depth - 1) * this.#times.stepMs(numRows);
  }

  catchUpMs(row: number): number {
    const { table, coverage, draft } = this.#parts;
    if (table.numTokens[row]! >= draft.maxModelLen) return Number.POSITIVE_INFINITY;
    const numBehind = table.numTokens[row]! - coverage.numHeld(row);
    return numBehind * this.#times.msPerToken(minPrefillTokens);
  }

  propose(rows: Int32Array, depths: Int32Array, count: number): void {
    let numActive = this.#catchUp(rows, depths, count);
    if (this.#builder.batch.numTokens > 0) this.#run(numActive, 0);
    for (let draft = 0; numActive > 0; ) {
      numActive = this.#keep(numActive, draft + 1);
      draft += 1;
      if (numActive === 0) break;
      this.#extend(numActive, draft);
      this.#run(numActive, draft);
    }
  }

  accept(row: number, first: number, numRight: number): void {
    const { coverage } = this.#parts;
    coverage.extend(row, first, first + Math.min(numRight, this.#numComputedDrafts[row]!));
  }

  /** Puts into the batch what the draft has not seen of each row, as far as a pass holds it. */
  #catchUp(rows: Int32Array, depths: Int32Array, count: number): number {
    const { table, coverage, draft, maxNumBatchedTokens } = this.#parts;
    const { batch } = this.#builder;
    let numActive = 0;
    this.#builder.clear();
    for (let index = 0; index < count && batch.numTokens < maxNumBatchedTokens; index += 1) {
      const row = rows[index]!;
      const length = table.numTokens[row]!;
      const depth = Math.min(depths[index]!, draft.maxModelLen - length);
      if (depth < 1) continue;
      // The last known token is always computed: what is drawn after it is the guess.
      const first = Math.min(coverage.numHeld(row), length - 1);
      const end = Math.min(length, first + maxNumBatchedTokens - batch.numTokens);
      this.#builder.add(row, first, end - first);
      coverage.extend(row, first, end);
      if (end < length) continue;
      this.#active[numActive] = row;
      this.#depths[numActive] = depth;
      this.#logitRows[numActive] = batch.numTokens - 1;
      numActive += 1;
    }
    return numActive;
  }

  /** Puts the last guess of each row into the batch. */
  #extend(numActive: number, draft: number): void {
    const { table } = this.#parts;
    this.#builder.clear();
    for (let index = 0; index < numActive; index += 1) {
      const row = this.#active[index]!;
      this.#builder.add(row, table.numTokens[row]! + draft - 1, 1);
      this.#numComputedDrafts[row] = draft;
      this.#logitRows[index] = index;
    }
  }

  /** Runs the batch and draws a guess for each active row, as the target would after `draft` guesses. */
  #run(numActive: number, draft: number): void {
    const { ops, sampler } = this.#parts;
    const { model, cache } = this.#parts.draft;
    const { batch } = this.#builder;
    const beginMs = performance.now();
    ops.beginStep(batch);
    try {
      const hidden = model.forward(cache);
      if (numActive > 0) {
        this.#offsets.fill(draft, 0, numActive);
        const logits = model.logits(model.finalNorm(hidden, this.#logitRows, numActive));
        sampler.sample(logits, this.#active, this.#offsets, numActive);
      }
    } finally {
      ops.endStep();
    }
    this.#times.observe(batch.numTokens, performance.now() - beginMs);
  }

  /** Appends the drawn guesses and keeps the rows that want more; a row without a draw ends. */
  #keep(numActive: number, numDrafts: number): number {
    const { table, sampler, maxDrafts } = this.#parts;
    let kept = 0;
    for (let index = 0; index < numActive; index += 1) {
      const row = this.#active[index]!;
      const tokenId = sampler.output.tokenIds[index]!;
      if (tokenId < 0 || Number.isNaN(sampler.output.logprobs[index]!)) continue;
      const drafts = this.#drafts.subarray(index * maxDrafts, (index + 1) * maxDrafts);
      drafts[numDrafts - 1] = tokenId;
      table.setDrafts(row, drafts, numDrafts);
      if (numDrafts === 1) this.#numComputedDrafts[row] = 0;
      if (numDrafts >= this.#depths[index]!) continue;
      this.#drafts.copyWithin(kept * maxDrafts, index * maxDrafts, (index + 1) * maxDrafts);
      this.#active[kept] = row;
      this.#depths[kept] = this.#depths[index]!;
      kept += 1;
    }
    return kept;
  }
}
