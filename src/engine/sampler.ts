import { MillraceError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import type { Ops, Tensor } from "../kernels/ops.ts";
import type { SamplingOutput } from "../kernels/sampling.ts";
import { defaultSampling, type SamplingParams } from "../protocol/sampling-params.ts";
import { notFinite } from "./request-faults.ts";
import { RowRules } from "./row-rules.ts";
import { RuleGatherer } from "./rule-gatherer.ts";
import { SamplingColumns } from "./sampling-columns.ts";
import type { SequenceTable } from "./sequence-table.ts";
import type { TokenMask } from "./token-mask.ts";

/**
 * Gathers the sampling parameters of the rows that draw in this step and calls the sampling kernel. All arrays are
 * reused. The draw of a row depends on its logits, its request's parameters, its known tokens and its output index
 * only, never on the batch.
 */
export class Sampler {
  readonly output: SamplingOutput;
  /** Most draws of one step. */
  readonly maxRows: number;
  readonly #ops: Ops;
  readonly #table: SequenceTable;
  /** By row of the table; null = the request changes no logits, the usual case. */
  readonly #rules: (RowRules | null)[];
  readonly #columns: SamplingColumns;
  readonly #gatherer: RuleGatherer;

  constructor(ops: Ops, table: SequenceTable, maxRows: number, maxLogprobs: number) {
    this.maxRows = maxRows;
    this.#ops = ops;
    this.#table = table;
    this.#rules = Array.from({ length: table.capacity }, () => null);
    this.#columns = new SamplingColumns(maxRows);
    this.#gatherer = new RuleGatherer(table, this.#columns);
    this.output = {
      tokenIds: new Int32Array(maxRows),
      logprobs: new Float32Array(maxRows),
      ranks: new Int32Array(maxRows),
      maxLogprobs,
      topIds: new Int32Array(maxRows * maxLogprobs),
      topLogprobs: new Float32Array(maxRows * maxLogprobs),
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
    const rules = new RowRules(sampling, endTokenIds);
    this.#rules[row] = rules.isEmpty ? null : rules;
  }

  /** Lets a mask decide which tokens an admitted row may draw; it sees every token of the output. */
  constrain(row: number, mask: TokenMask): void {
    const rules = this.#rules[row] ?? new RowRules(defaultSampling, []);
    invariant(rules.mask === null && rules.allowedTokenIds === null, "a row has one mask");
    rules.mask = mask;
    this.#rules[row] = rules;
  }

  /** Forgets what a request changes; the flat arrays need no clearing. */
  release(row: number): void {
    this.#rules[row]?.mask?.close();
    this.#rules[row] = null;
  }

  /** Tells the row's mask of a token as soon as it is drawn: the next one can be made while the model computes. */
  follow(row: number): void {
    const rules = this.#rules[row]!;
    if (rules !== null && rules.mask !== null) rules.follow(this.#table, row);
  }

  /**
   * Draws one token for each of the `count` rows of `logits`, f32 [count, vocab]; the result is in `output`.
   *
   * @param rows [count] row of the table that each row of logits belongs to; those of one sequence stand together
   * @param offsets [count] drafts between the last known token of rows[i] and draw i, rising within a sequence. They
   *   stand in the table after the known tokens, and the draw is made as if they had been drawn
   */
  sample(logits: Tensor, rows: Int32Array, offsets: Int32Array, count: number): void {
    const columns = this.#columns;
    columns.begin(count);
    this.#gatherer.begin(logits.cols);
    for (let index = 0; index < count; index += 1) {
      const row = rows[index]!;
      this.#gather(index, row, offsets[index]!);
      const rules = this.#rules[row]!;
      if (rules !== null) this.#gatherer.add(index, row, offsets[index]!, rules);
    }
    this.#gatherer.end();
    columns.batch.biasStarts[count] = columns.numBiases;
    this.#ops.sample(logits, columns.batch, this.output);
  }

  /**
   * Why draw `index` of the last call, which belongs to `row` of the table, has no token: `no_token_allowed`,
   * `model_not_finite` or its mask's fault. Null where it has one.
   */
  faultOf(row: number, index: number): MillraceError | null {
    if (!Number.isNaN(this.output.logprobs[index]!)) return null;
    if (this.output.ranks[index] !== -1) return notFinite("logit");
    return this.#rules[row]?.mask?.fault ?? noTokenAllowed();
  }

  #gather(index: number, row: number, offset: number): void {
    const table = this.#table;
    const { batch, numBiases } = this.#columns;
    batch.temperature[index] = table.temperature[row]!;
    batch.topK[index] = table.topK[row]!;
    batch.topP[index] = table.topP[row]!;
    batch.minP[index] = table.minP[row]!;
    batch.seeds[index * 2] = table.seeds[row * 2]!;
    batch.seeds[index * 2 + 1] = table.seeds[row * 2 + 1]!;
    batch.counters[index * 2] = table.numOutputTokens(row) + offset;
    // Sequence index: the n answers of one request are requests of their own, each with its own seed.
    batch.counters[index * 2 + 1] = 0;
    batch.numLogprobs[index] = Math.max(0, table.numLogprobs[row]!);
    batch.biasStarts[index] = numBiases;
    batch.maskRows[index] = -1;
    const at = index * 3;
    batch.penalties[at] = 1;
    batch.penalties[at + 1] = 0;
    batch.penalties[at + 2] = 0;
    batch.historyRanges[at] = 0;
    batch.historyRanges[at + 1] = 0;
    batch.historyRanges[at + 2] = 0;
  }
}

function noTokenAllowed(): MillraceError {
  return new MillraceError(
    "no_token_allowed",
    "The request forbids every token at this place: its allowed tokens, bad words, logit_bias and min_tokens leave " +
      "none, and at least one is needed. Allow more tokens, or lower min_tokens.",
  );
}
