import type { Ops, SamplingBatch, SamplingOutput, Tensor } from "../kernels/ops.ts";
import type { SamplingParams } from "../protocol/sampling-params.ts";
import type { SequenceTable } from "./sequence-table.ts";

/** Tokens whose logits a request changes: its own biases, and the end tokens banned until `minTokens` are out. */
export interface LogitBias {
  readonly ids: Int32Array;
  readonly values: Float32Array;
}

/** The parts of a request's sampling that do not fit into the flat arrays of the table; null = none, the usual case. */
export interface RowBiases {
  readonly always: LogitBias | null;
  /** `always` and the bans together. */
  readonly untilMinTokens: LogitBias | null;
}

/**
 * Gathers the sampling parameters of the rows that draw in this step and calls the sampling kernel. All arrays are
 * made once and reused. The draw of a row depends on its logits, its request's seed and its output index only,
 * never on the batch.
 */
export class Sampler {
  readonly output: SamplingOutput;
  readonly #ops: Ops;
  readonly #table: SequenceTable;
  readonly #biases: (RowBiases | null)[];
  #batch: SamplingBatch;

  constructor(ops: Ops, table: SequenceTable, maxNumSeqs: number, maxLogprobs: number) {
    this.#ops = ops;
    this.#table = table;
    this.#biases = Array.from({ length: table.capacity }, () => null);
    this.output = {
      tokenIds: new Int32Array(maxNumSeqs),
      logprobs: new Float32Array(maxNumSeqs),
      ranks: new Int32Array(maxNumSeqs),
      maxLogprobs,
      topIds: new Int32Array(maxNumSeqs * maxLogprobs),
      topLogprobs: new Float32Array(maxNumSeqs * maxLogprobs),
    };
    this.#batch = {
      numRows: 0,
      temperature: new Float32Array(maxNumSeqs),
      topK: new Int32Array(maxNumSeqs),
      topP: new Float32Array(maxNumSeqs),
      minP: new Float32Array(maxNumSeqs),
      seeds: new Uint32Array(maxNumSeqs * 2),
      counters: new Uint32Array(maxNumSeqs * 2),
      biasStarts: new Int32Array(maxNumSeqs + 1),
      biasIds: new Int32Array(64),
      biasValues: new Float32Array(64),
      allowed: null,
      numLogprobs: new Int32Array(maxNumSeqs),
    };
  }

  /** Keeps a new request's parameters in its row. `seed` is the request's own or the one drawn for it. */
  admit(row: number, sampling: SamplingParams, seed: bigint, endTokenIds: readonly number[]): void {
    const table = this.#table;
    table.maxTokens[row] = sampling.maxTokens;
    table.minTokens[row] = sampling.minTokens;
    table.temperature[row] = sampling.temperature;
    table.topK[row] = sampling.topK;
    table.topP[row] = sampling.topP;
    table.minP[row] = sampling.minP;
    table.seeds[row * 2] = Number(seed & 0xffffffffn);
    table.seeds[row * 2 + 1] = Number((seed >> 32n) & 0xffffffffn);
    table.numLogprobs[row] = sampling.logprobs ?? -1;
    this.#biases[row] = rowBiases(sampling, endTokenIds);
  }

  /** Forgets a request's biases; the flat arrays need no clearing. */
  release(row: number): void {
    this.#biases[row] = null;
  }

  /** Draws one token for each of the `count` rows of `logits`, f32 [count, vocab]; the result is in `output`. */
  sample(logits: Tensor, rows: Int32Array, count: number): void {
    this.#gather(rows, count);
    this.#ops.sample(logits, this.#batch, this.output);
  }

  #gather(rows: Int32Array, count: number): void {
    const table = this.#table;
    let batch = this.#batch;
    batch.numRows = count;
    let numBiases = 0;
    for (let index = 0; index < count; index += 1) {
      const row = rows[index]!;
      const outputIndex = table.numOutputTokens(row);
      batch.temperature[index] = table.temperature[row]!;
      batch.topK[index] = table.topK[row]!;
      batch.topP[index] = table.topP[row]!;
      batch.minP[index] = table.minP[row]!;
      batch.seeds[index * 2] = table.seeds[row * 2]!;
      batch.seeds[index * 2 + 1] = table.seeds[row * 2 + 1]!;
      batch.counters[index * 2] = outputIndex;
      // Sequence index: the n answers of one request are requests of their own, each with its own seed.
      batch.counters[index * 2 + 1] = 0;
      batch.numLogprobs[index] = Math.max(0, table.numLogprobs[row]!);
      batch.biasStarts[index] = numBiases;
      const biases = this.#biases[row]!;
      const bias = outputIndex < table.minTokens[row]! ? biases?.untilMinTokens : biases?.always;
      if (bias) {
        batch = this.#reserveBiases(numBiases + bias.ids.length);
        batch.biasIds.set(bias.ids, numBiases);
        batch.biasValues.set(bias.values, numBiases);
        numBiases += bias.ids.length;
      }
    }
    batch.biasStarts[count] = numBiases;
  }

  #reserveBiases(length: number): SamplingBatch {
    if (length > this.#batch.biasIds.length) {
      const biasIds = new Int32Array(length * 2);
      const biasValues = new Float32Array(length * 2);
      biasIds.set(this.#batch.biasIds);
      biasValues.set(this.#batch.biasValues);
      this.#batch = { ...this.#batch, biasIds, biasValues };
    }
    return this.#batch;
  }
}

/** Null for the usual request, which changes no logits. */
function rowBiases(sampling: SamplingParams, endTokenIds: readonly number[]): RowBiases | null {
  const biases = sampling.logitBias ?? new Map<number, number>();
  const banned = sampling.minTokens > 0 ? [...endTokenIds, ...sampling.stopTokenIds] : [];
  if (biases.size === 0 && banned.length === 0) return null;
  const always = biases.size === 0 ? null : toLogitBias(biases);
  if (banned.length === 0) return { always, untilMinTokens: always };
  const withBans = new Map(biases);
  for (const id of banned) withBans.set(id, -Infinity);
  return { always, untilMinTokens: toLogitBias(withBans) };
}

function toLogitBias(biases: ReadonlyMap<number, number>): LogitBias {
  return { ids: Int32Array.from(biases.keys()), values: Float32Array.from(biases.values()) };
}
