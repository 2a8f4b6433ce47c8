import {
  type KvCache,
  type KvHost,
  type KvMoves,
  kvMoveKinds,
  type LinearWeight,
  type Ops,
  type RaggedBatch,
  type Tensor,
} from "../src/kernels/ops.ts";
import type { SamplingBatch, SamplingOutput, ScoreOutput } from "../src/kernels/sampling.ts";
import type { CausalModel } from "../src/model/causal-model.ts";

/**
 * A model and its backend for engine tests: the "KV cache" holds token ids, and a row's logits are a hash of all
 * tokens that the batch's block table shows to it. So one wrong slot, position, block or length changes the answer,
 * and `contextLogits` says from the plain token list what the answer must be.
 */
export interface ContextModel {
  readonly model: CausalModel;
  readonly ops: Ops;
  readonly cache: KvCache;
  /** A second model with a cache of its own, which is wrong after every fourth token. */
  readonly draft: { readonly model: CausalModel; readonly cache: KvCache };
  /** Called before each forward pass; may throw. */
  onForward: (batch: RaggedBatch) => void;
  /** The same of the second model. */
  onDraft: (batch: RaggedBatch) => void;
  /** Tokens whose next-token logits come out as NaN. */
  readonly poison: Set<number>;
}

export interface ContextModelOptions {
  readonly vocabSize: number;
  readonly numBlocks: number;
  readonly blockSize: number;
}

/** Logits after `context`, [vocabSize]: pseudo-random, distinct, the same on every call. */
export function contextLogits(context: ArrayLike<number>, vocabSize: number): Float32Array {
  let hash = 2166136261;
  for (let index = 0; index < context.length; index += 1)
    hash = Math.imul(hash ^ context[index]!, 16777619) >>> 0;
  return Float32Array.from({ length: vocabSize }, (_, id) => mix(hash, id) / 2 ** 29);
}

export function logSoftmax(logits: Float32Array): Float32Array {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  return logits.map((logit) => logit - max - Math.log(sum));
}

export function createContextModel({ vocabSize, numBlocks, blockSize }: ContextModelOptions): ContextModel {
  const slots = new Int32Array(numBlocks * blockSize).fill(-1);
  const cache: KvCache = {
    id: 0,
    numLayers: 1,
    numBlocks,
    blockSize,
    numKvHeads: 1,
    headDim: 1,
    dtype: "f32",
    sizeBytes: 0,
  };
  const values = new Map<number, Float32Array[]>();
  let nextId = 1;
  let step: RaggedBatch | null = null;
  const tensor = (rows: Float32Array[]): Tensor => {
    values.set(nextId, rows);
    return { id: nextId++, rows: rows.length, cols: vocabSize, form: "f32" };
  };
  const poison = new Set<number>();
  const draftSlots = slots.slice();
  const write = (batch: RaggedBatch, into: Int32Array): void => {
    for (let token = 0; token < batch.numTokens; token += 1)
      into[batch.slots[token]!] = batch.tokenIds[token]!;
  };
  const modelOver = (forward: (batch: RaggedBatch) => Float32Array[]): CausalModel => ({
    vocabSize,
    hiddenSize: vocabSize,
    kvShape: { numLayers: 1, numKvHeads: 1, headDim: 1 },
    head: { id: 0 } as LinearWeight,
    logitSoftCap: 0,
    forward: () => tensor(forward(step!)),
    finalNorm: (hidden, rows, count) =>
      tensor(Array.from({ length: count }, (_, index) => values.get(hidden.id)![rows[index]!]!)),
    logits: (normed) => normed,
  });
  const context: ContextModel = {
    poison,
    cache,
    onForward: () => {},
    onDraft: () => {},
    model: modelOver((batch) => {
      context.onForward(batch);
      write(batch, slots);
      return hiddenRows(batch, slots, { vocabSize, blockSize, poison });
    }),
    draft: {
      cache,
      model: modelOver((batch) => {
        context.onDraft(batch);
        write(batch, draftSlots);
        const rows = hiddenRows(batch, draftSlots, { vocabSize, blockSize, poison });
        return rows.map((row, token) => (batch.positions[token]! % 4 === 3 ? row.toReversed() : row));
      }),
    },
    ops: {
      beginStep: (batch: RaggedBatch) => {
        step = batch;
        values.clear();
      },
      endStep: () => {},
      flush: () => undefined,
      close: () => {},
      moveKv: (_cache: KvCache, _host: KvHost | null, moves: KvMoves) => {
        for (let index = 0; index < moves.count; index += 1) {
          if (moves.kinds[index] !== kvMoveKinds.copy) throw new Error("the context model has no host tier");
          const source = moves.sources[index]! * blockSize;
          const copied = slots.slice(source, source + moves.numTokens[index]!);
          slots.set(copied, moves.targets[index]! * blockSize);
        }
      },
      sample: (logits: Tensor, batch: SamplingBatch, out: SamplingOutput) =>
        sampleRows(values.get(logits.id)!, batch, out),
      scoreTargets: (hidden: Tensor, _head: LinearWeight, targets: Int32Array, out: ScoreOutput) =>
        scoreRows(values.get(hidden.id)!, targets, out),
    } as unknown as Ops,
  };
  return context;
}

function hiddenRows(
  batch: RaggedBatch,
  slots: Int32Array,
  { vocabSize, blockSize, poison }: { vocabSize: number; blockSize: number; poison: Set<number> },
): Float32Array[] {
  const rows: Float32Array[] = [];
  for (let seq = 0; seq < batch.numSeqs; seq += 1) {
    for (let token = batch.queryStarts[seq]!; token < batch.queryStarts[seq + 1]!; token += 1) {
      const position = batch.positions[token]!;
      const seen = Array.from({ length: position + 1 }, (_, p) => {
        const block = batch.blockTables[seq * batch.blockTableStride + Math.floor(p / blockSize)]!;
        return slots[block * blockSize + (p % blockSize)]!;
      });
      const length = batch.contextLengths[seq]! - (batch.queryStarts[seq + 1]! - token) + 1;
      if (length !== position + 1) throw new Error(`position ${position} in a context of ${length}`);
      rows.push(
        poison.has(seen.at(-1)!) ? new Float32Array(vocabSize).fill(NaN) : contextLogits(seen, vocabSize),
      );
    }
  }
  return rows;
}

/** Greedy at temperature 0; else picks by a hash of seed and counter, weighted by nothing. */
function sampleRows(rows: Float32Array[], batch: SamplingBatch, out: SamplingOutput): void {
  for (const [row, raw] of rows.entries()) {
    const logits = raw.slice();
    for (let index = batch.biasStarts[row]!; index < batch.biasStarts[row + 1]!; index += 1) {
      logits[batch.biasIds[index]!]! += batch.biasValues[index]!;
    }
    const order = byFallingLogit(logits);
    const allowed = order.filter((id) => logits[id]! > -Infinity);
    const key = mix(batch.seeds[row * 2]! ^ batch.seeds[row * 2 + 1]!, batch.counters[row * 2]!);
    const tokenId = batch.temperature[row] === 0 ? order[0]! : allowed[key % allowed.length]!;
    const logprobs = logSoftmax(raw);
    const rawOrder = byFallingLogit(raw);
    out.tokenIds[row] = tokenId;
    out.logprobs[row] = logprobs[tokenId]!;
    out.ranks[row] = rawOrder.indexOf(tokenId) + 1;
    for (let rank = 0; rank < batch.numLogprobs[row]!; rank += 1) {
      out.topIds[row * out.maxLogprobs + rank] = rawOrder[rank]!;
      out.topLogprobs[row * out.maxLogprobs + rank] = logprobs[rawOrder[rank]!]!;
    }
  }
}

function scoreRows(rows: Float32Array[], targets: Int32Array, out: ScoreOutput): void {
  if (rows.length !== targets.length) throw new Error(`${rows.length} rows for ${targets.length} targets`);
  for (const [row, raw] of rows.entries()) {
    const logprobs = logSoftmax(raw);
    const order = byFallingLogit(raw);
    out.logprobs[row] = logprobs[targets[row]!]!;
    out.argmax[row] = order[0]!;
    for (let rank = 0; rank < out.topK; rank += 1) {
      out.topIds[row * out.topK + rank] = order[rank]!;
      out.topLogprobs[row * out.topK + rank] = logprobs[order[rank]!]!;
    }
  }
}

function byFallingLogit(logits: Float32Array): number[] {
  return Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
}

function mix(a: number, b: number): number {
  let z = Math.imul(a ^ Math.imul(b + 1, 0x9e3779b1), 0x85ebca6b) >>> 0;
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35) >>> 0;
  return (z ^ (z >>> 16)) >>> 0;
}
