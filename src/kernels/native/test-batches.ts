import { invariant } from "../../base/invariant.ts";
import type { DenseWeight } from "../../base/weights.ts";
import type { Ops, RaggedBatch, Tensor } from "../ops.ts";
import type { SamplingBatch, SamplingOutput } from "../sampling.ts";

/** Uniform numbers in [-1, 1) from a seed (mulberry32). */
export function randomFloats(count: number, seed: number, scale = 1): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1) * scale;
  });
}

export function f32Weight(values: Float32Array, rows: number, cols: number): DenseWeight {
  invariant(values.length === rows * cols, "a test weight has rows times cols values");
  return { kind: "dense", rows, cols, dtype: "f32", data: new Uint8Array(values.buffer) };
}

export interface TestSequence {
  readonly start: number;
  readonly count: number;
  readonly blocks: readonly number[];
}

/** The batch of a step that computes `count` tokens from position `start` of each sequence. */
export function makeBatch(
  sequences: readonly TestSequence[],
  blockSize: number,
  tokenIds: readonly number[] = [],
): RaggedBatch {
  const numTokens = sequences.reduce((sum, s) => sum + s.count, 0);
  const blockTableStride = Math.max(1, ...sequences.map((s) => s.blocks.length));
  const batch: RaggedBatch = {
    numTokens,
    numSeqs: sequences.length,
    tokenIds: Int32Array.from({ length: numTokens }, (_, i) => tokenIds[i] ?? 0),
    positions: new Int32Array(numTokens),
    slots: new Int32Array(numTokens),
    queryStarts: new Int32Array(sequences.length + 1),
    contextLengths: Int32Array.from(sequences, (s) => s.start + s.count),
    blockTables: new Int32Array(sequences.length * blockTableStride),
    blockTableStride,
  };
  let token = 0;
  for (const [s, sequence] of sequences.entries()) {
    batch.queryStarts[s] = token;
    batch.blockTables.set(sequence.blocks, s * blockTableStride);
    for (let i = 0; i < sequence.count; i += 1, token += 1) {
      const position = sequence.start + i;
      batch.positions[token] = position;
      batch.slots[token] =
        sequence.blocks[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
    }
  }
  batch.queryStarts[sequences.length] = token;
  return batch;
}

/** A batch of plain tokens, for operations that know no sequences. */
export function plainBatch(tokenIds: readonly number[]): RaggedBatch {
  const blocks = Array.from({ length: Math.ceil(Math.max(1, tokenIds.length) / 32) }, (_, i) => i);
  return makeBatch([{ start: 0, count: tokenIds.length, blocks }], 32, tokenIds);
}

/** Runs one step that begins with a tensor of these rows (through an f32 table, exactly) and reads its result. */
export function runOnRows(
  ops: Ops,
  rows: Float32Array,
  cols: number,
  body: (x: Tensor) => Tensor,
  batch?: RaggedBatch,
): Float32Array {
  const numRows = rows.length / cols;
  // A table needs a row even where the tensor has none.
  const values = numRows === 0 ? new Float32Array(cols) : rows;
  const table = ops.packLinear([f32Weight(values, Math.max(1, numRows), cols)], {
    name: "rows",
    inputForm: "f32",
  });
  const ids = Array.from({ length: numRows }, (_, i) => i);
  const step = batch ?? plainBatch(ids);
  step.tokenIds.set(ids);
  ops.beginStep(step);
  const y = body(ops.embed(table));
  const out = new Float32Array(y.rows * y.cols);
  ops.read(y, out);
  ops.endStep();
  return out;
}

/** Largest difference, as a share of the largest magnitude of `expected`. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  invariant(actual.length === expected.length, "compared results have equal lengths");
  let difference = 0;
  let magnitude = 1e-30;
  for (let i = 0; i < expected.length; i += 1) {
    // NaN on one side only counts as infinitely wrong.
    const step = Math.abs(actual[i]! - expected[i]!);
    difference = Math.max(difference, Number.isNaN(step) ? Infinity : step);
    magnitude = Math.max(magnitude, Math.abs(expected[i]!));
  }
  return expected.length === 0 ? 0 : difference / magnitude;
}

export interface RowSampling {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly outputIndex?: number;
  readonly bias?: readonly (readonly [id: number, value: number])[];
  readonly repetition?: number;
  readonly frequency?: number;
  readonly presence?: number;
  /** Distinct ids and how often each stands in the output. */
  readonly history?: readonly HistoryEntry[];
  /** What draft tokens change in it. */
  readonly drafts?: readonly HistoryEntry[];
  readonly numLogprobs?: number;
}

export type HistoryEntry = readonly [id: number, count: number];

/** @param allowed one mask per row, or null where no row is constrained */
export function samplingBatch(
  rows: readonly RowSampling[],
  allowed: Uint32Array | null = null,
): SamplingBatch {
  const starts = [0];
  for (const row of rows) starts.push(starts.at(-1)! + (row.bias?.length ?? 0));
  const bias = rows.flatMap((row) => row.bias ?? []);
  const ranges: number[] = [];
  const entries: HistoryEntry[] = [];
  for (const { history = [], drafts = [] } of rows) {
    const begin = entries.length;
    entries.push(...history, ...drafts);
    ranges.push(begin, begin + history.length, entries.length);
  }
  return {
    numRows: rows.length,
    temperature: Float32Array.from(rows, (row) => row.temperature ?? 0),
    topK: Int32Array.from(rows, (row) => row.topK ?? 0),
    topP: Float32Array.from(rows, (row) => row.topP ?? 1),
    minP: Float32Array.from(rows, (row) => row.minP ?? 0),
    seeds: Uint32Array.from(rows.flatMap((row) => [row.seed ?? 0, 7])),
    counters: Uint32Array.from(rows.flatMap((row) => [row.outputIndex ?? 0, 0])),
    biasStarts: Int32Array.from(starts),
    biasIds: Int32Array.from(bias, ([id]) => id),
    biasValues: Float32Array.from(bias, ([, value]) => value),
    penalties: Float32Array.from(
      rows.flatMap(({ repetition = 1, frequency = 0, presence = 0 }) => [repetition, frequency, presence]),
    ),
    historyRanges: Int32Array.from(ranges),
    historyIds: Int32Array.from(entries, ([id]) => id),
    historyCounts: Int32Array.from(entries, ([, count]) => count),
    maskRows: Int32Array.from(rows, (_, row) => (allowed === null ? -1 : row)),
    allowed: allowed ?? new Uint32Array(0),
    numLogprobs: Int32Array.from(rows, (row) => row.numLogprobs ?? 0),
  };
}

export function samplingOutput(numRows: number, maxLogprobs: number): SamplingOutput {
  return {
    tokenIds: new Int32Array(numRows),
    logprobs: new Float32Array(numRows),
    ranks: new Int32Array(numRows),
    maxLogprobs,
    topIds: new Int32Array(numRows * maxLogprobs),
    topLogprobs: new Float32Array(numRows * maxLogprobs),
  };
}
