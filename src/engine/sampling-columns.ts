import type { SamplingBatch } from "../kernels/sampling.ts";
import type { LogitBias } from "./row-rules.ts";
import type { TokenHistory } from "./token-history.ts";

type MutableBatch = { -readonly [Key in keyof SamplingBatch]: SamplingBatch[Key] };

/**
 * The arrays of a `SamplingBatch`, filled anew for each step. Columns of one number per row are made once; lists of
 * any length grow by doubling, so that steps allocate nothing once they have seen their largest.
 */
export class SamplingColumns {
  readonly batch: MutableBatch;
  numBiases = 0;
  numHistory = 0;
  /** Words of `batch.allowed` in use. */
  numMaskWords = 0;

  constructor(maxNumRows: number) {
    this.batch = {
      numRows: 0,
      temperature: new Float32Array(maxNumRows),
      topK: new Int32Array(maxNumRows),
      topP: new Float32Array(maxNumRows),
      minP: new Float32Array(maxNumRows),
      seeds: new Uint32Array(maxNumRows * 2),
      counters: new Uint32Array(maxNumRows * 2),
      biasStarts: new Int32Array(maxNumRows + 1),
      biasIds: new Int32Array(64),
      biasValues: new Float32Array(64),
      penalties: new Float32Array(maxNumRows * 3),
      historyRanges: new Int32Array(maxNumRows * 3),
      historyIds: new Int32Array(0),
      historyCounts: new Int32Array(0),
      maskRows: new Int32Array(maxNumRows),
      allowed: new Uint32Array(0),
      numLogprobs: new Int32Array(maxNumRows),
    };
  }

  /** Forgets the lists of the last step. */
  begin(numRows: number): void {
    this.batch.numRows = numRows;
    this.numBiases = 0;
    this.numHistory = 0;
    this.numMaskWords = 0;
  }

  addBiases(bias: LogitBias): void {
    this.#reserveBiases(bias.ids.length);
    this.batch.biasIds.set(bias.ids, this.numBiases);
    this.batch.biasValues.set(bias.values, this.numBiases);
    this.numBiases += bias.ids.length;
  }

  addBan(id: number): void {
    this.#reserveBiases(1);
    this.batch.biasIds[this.numBiases] = id;
    this.batch.biasValues[this.numBiases] = -Infinity;
    this.numBiases += 1;
  }

  addHistory(history: TokenHistory): void {
    this.#reserveHistory(history.numCopied);
    history.copyInto(this.batch.historyIds, this.batch.historyCounts, this.numHistory);
    this.numHistory += history.size;
  }

  addHistoryEntry(id: number, count: number): void {
    this.#reserveHistory(1);
    this.batch.historyIds[this.numHistory] = id;
    this.batch.historyCounts[this.numHistory] = count;
    this.numHistory += 1;
  }

  /** Room for one more mask; returns its first word in `batch.allowed`. */
  addMask(numWords: number): number {
    const at = this.numMaskWords;
    this.numMaskWords = at + numWords;
    const { allowed } = this.batch;
    if (this.numMaskWords > allowed.length) {
      this.batch.allowed = new Uint32Array(this.numMaskWords * 2);
      this.batch.allowed.set(allowed);
    }
    return at;
  }

  #reserveBiases(count: number): void {
    const length = this.numBiases + count;
    const { biasIds, biasValues } = this.batch;
    if (length <= biasIds.length) return;
    this.batch.biasIds = new Int32Array(length * 2);
    this.batch.biasIds.set(biasIds);
    this.batch.biasValues = new Float32Array(length * 2);
    this.batch.biasValues.set(biasValues);
  }

  #reserveHistory(count: number): void {
    const length = this.numHistory + count;
    const { historyIds, historyCounts } = this.batch;
    if (length <= historyIds.length) return;
    this.batch.historyIds = new Int32Array(length * 2);
    this.batch.historyIds.set(historyIds);
    this.batch.historyCounts = new Int32Array(length * 2);
    this.batch.historyCounts.set(historyCounts);
  }
}
