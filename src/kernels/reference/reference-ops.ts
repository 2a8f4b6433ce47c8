import { invariant } from "../../base/invariant.ts";
import type { RowDivergences } from "../../base/row-divergences.ts";
import type { OrderedWeight } from "../../base/weights.ts";
import type {
  AttentionDtype,
  AttentionOptions,
  GatedActivation,
  KvCache,
  KvCacheShape,
  KvHost,
  KvMoves,
  LayerNorm,
  LinearEpilogue,
  LinearWeight,
  MoeRouting,
  Ops,
  OpsMemory,
  OpsOptions,
  PackOptions,
  RaggedBatch,
  RopeOptions,
  RopeTable,
  Tensor,
  TensorForm,
  VectorWeight,
  WeightedRows,
} from "../ops.ts";
import type { SamplingBatch, SamplingOutput, ScoreOutput } from "../sampling.ts";
import { readTensor, writeRow } from "./activation-forms.ts";
import { addBias, gateRows, geluErf, layerNormRow, rmsNormRow } from "./reference-activations.ts";
import {
  attend,
  type ReferenceRopeTable,
  type ReferenceVector,
  rotateAndStore,
} from "./reference-attention.ts";
import { divergeRows } from "./reference-divergence.ts";
import { addWeightedRows, routeTokens } from "./reference-experts.ts";
import {
  createReferenceKvCache,
  createReferenceKvHost,
  equalBlocks,
  moveBlocks,
  type ReferenceKvCache,
  type ReferenceKvHost,
} from "./reference-kv.ts";
import { multiply } from "./reference-linear.ts";
import { sampleRows, scoreRows } from "./reference-sampling.ts";
import { expandFloats, packReferenceWeight, type ReferenceWeight } from "./reference-weight.ts";
import { type ReferenceTensor, TensorArena } from "./tensor-arena.ts";

/** Rows of logits that `scoreTargets` holds at a time. */
const rowsPerSlab = 64;

/**
 * The backend in plain TypeScript: the oracle of every kernel test, and the fallback where the addon cannot be
 * built. It runs on the calling thread only, whatever `numThreads` says.
 */
export function createReferenceOps({ attentionDtype = "f32" }: OpsOptions): Ops {
  return new ReferenceOps(attentionDtype);
}

class ReferenceOps implements Ops {
  readonly backend = "reference";
  readonly isa = "scalar";
  readonly numThreads = 1;
  readonly attentionDtype: AttentionDtype;
  readonly #arena: TensorArena = new TensorArena();
  readonly #weights: Set<LinearWeight> = new Set();
  readonly #caches: Set<KvCache> = new Set();
  readonly #hosts: Set<KvHost> = new Set();
  #batch: RaggedBatch | null = null;
  #nextId = 1;

  constructor(attentionDtype: AttentionDtype) {
    this.attentionDtype = attentionDtype;
  }

  packLinear(parts: readonly OrderedWeight[], options: PackOptions): LinearWeight {
    const weight = packReferenceWeight(this.#nextId++, parts, options);
    this.#weights.add(weight);
    return weight;
  }

  freeLinear(weight: LinearWeight): void {
    this.#weight(weight);
    this.#weights.delete(weight);
  }

  loadVector(values: Float32Array): VectorWeight {
    const vector: ReferenceVector = { id: this.#nextId++, length: values.length, values: values.slice() };
    return vector;
  }

  loadRope(cos: Float32Array, sin: Float32Array, rotaryDim: number): RopeTable {
    invariant(rotaryDim % 2 === 0 && cos.length === sin.length, "rotation tables come in equal halves");
    const table: ReferenceRopeTable = {
      id: this.#nextId++,
      rotaryDim,
      maxPositions: cos.length / (rotaryDim / 2),
      cos: cos.slice(),
      sin: sin.slice(),
    };
    return table;
  }

  createKvCache(shape: KvCacheShape): KvCache {
    const cache = createReferenceKvCache(this.#nextId++, shape);
    this.#caches.add(cache);
    return cache;
  }

  createKvHost(cache: KvCache, numBlocks: number): KvHost {
    const host = createReferenceKvHost(this.#nextId++, this.#cache(cache), numBlocks);
    this.#hosts.add(host);
    return host;
  }

  moveKv(cache: KvCache, host: KvHost | null, moves: KvMoves): void {
    invariant(host === null || this.#hosts.has(host), "a KV host belongs to another cache or backend");
    moveBlocks(this.#cache(cache), host as ReferenceKvHost | null, moves);
  }

  equalKv(cache: KvCache, blockA: number, blockB: number, numTokens: number): boolean {
    return equalBlocks(this.#cache(cache), blockA, blockB, numTokens);
  }

  beginStep(batch: RaggedBatch): void {
    this.#arena.reset();
    this.#batch = batch;
  }

  endStep(): void {
    this.#batch = null;
  }

  flush(): undefined {
    return undefined;
  }

  embed(table: LinearWeight, ids: Int32Array = this.#currentBatch().tokenIds): Tensor {
    const batch = this.#currentBatch();
    const weight = this.#weight(table);
    const out = this.#arena.create(batch.numTokens, table.cols, "f32");
    for (let token = 0; token < batch.numTokens; token += 1) {
      const id = ids[token]!;
      invariant(id >= 0 && id < table.rows, `id ${id} is outside an embedding table of ${table.rows}`);
      expandFloats(weight, id, rowOf(out, token));
    }
    return out;
  }

  rmsNorm(x: Tensor, weight: VectorWeight, eps: number, as: TensorForm): Tensor {
    const input = this.#arena.floats(x);
    const scales = (weight as ReferenceVector).values;
    invariant(scales.length === x.cols, "a norm has one weight for each column");
    const out = this.#arena.create(x.rows, x.cols, as);
    const normed = new Float32Array(x.cols);
    for (let row = 0; row < x.rows; row += 1) {
      rmsNormRow(rowOf(input, row), scales, eps, normed);
      writeRow(normed, out, row);
    }
    return out;
  }

  layerNorm(x: Tensor, { weight, bias, eps }: LayerNorm): void {
    const input = this.#arena.floats(x);
    const norm = { weight: (weight as ReferenceVector).values, bias: (bias as ReferenceVector).values, eps };
    invariant(weight.length === x.cols && bias.length === x.cols, "a norm has one weight for each column");
    for (let row = 0; row < x.rows; row += 1) layerNormRow(rowOf(input, row), norm);
  }

  linear(x: Tensor, weight: LinearWeight, epilogue: LinearEpilogue = {}): Tensor {
    const { bias, residual, activation, as = "f32" } = epilogue;
    invariant(
      activation === undefined || weight.layout === "paired",
      "a gated activation goes with paired weights",
    );
    invariant(residual === undefined || activation === undefined, "a residual goes without activation");
    invariant(residual === undefined || as === "f32", "a residual is f32");
    const out = this.#product(x, weight);
    if (bias !== undefined) addBias(out, (bias as ReferenceVector).values);
    if (residual !== undefined) {
      this.addInto(residual, out);
      return residual;
    }
    const result = activation === undefined ? out : this.gate(out, activation);
    return as === "f32" ? result : this.convert(result, as);
  }

  /** What the packed form takes: `x` itself where its columns are in order. */
  #gathered(x: Tensor, weight: LinearWeight): Tensor {
    const { columns } = this.#weight(weight);
    if (columns === null) return x;
    const { values } = this.#arena.floats(x);
    const out = this.#arena.create(x.rows, x.cols, weight.gatheredForm!);
    for (let row = 0; row < x.rows; row += 1) {
      const own = values.subarray(row * x.cols, (row + 1) * x.cols);
      writeRow(
        Float32Array.from(columns, (column) => own[column]!),
        out,
        row,
      );
    }
    return out;
  }

  /** First half of the columns is the gate: parts keep their order here, paired or not. */
  gate(x: Tensor, activation: GatedActivation): Tensor {
    const gated = this.#arena.create(x.rows, x.cols / 2, "f32");
    gateRows(this.#arena.floats(x).values, gated.cols, activation, gated.values);
    return gated;
  }

  convert(x: Tensor, as: TensorForm): Tensor {
    const input = this.#arena.get(x);
    const out = this.#arena.create(x.rows, x.cols, as);
    if (as === "f32") readTensor(input, out.values);
    else for (let row = 0; row < x.rows; row += 1) writeRow(rowOf(this.#arena.floats(x), row), out, row);
    return out;
  }

  addInto(x: Tensor, y: Tensor, scale = 1): void {
    invariant(x.rows === y.rows && x.cols === y.cols, "tensors that are added have the same shape");
    const into = this.#arena.floats(x).values;
    const values = this.#arena.floats(y).values;
    const factor = Math.fround(scale);
    for (let i = 0; i < into.length; i += 1) into[i]! += factor * values[i]!;
  }

  scale(x: Tensor, factor: number): void {
    this.#change(x, (value) => value * Math.fround(factor));
  }

  softCap(x: Tensor, cap: number): void {
    invariant(cap > 0, "a soft cap is above 0");
    this.#change(x, (value) => cap * Math.tanh(value / cap));
  }

  gelu(x: Tensor): void {
    this.#change(x, geluErf);
  }

  ropeAndCache(
    qkv: Tensor,
    rope: RopeTable | null,
    cache: KvCache,
    layer: number,
    options: RopeOptions,
  ): void {
    const { numHeads, numKvHeads, headDim } = options;
    invariant(qkv.cols === (numHeads + 2 * numKvHeads) * headDim, "qkv has q, k and v");
    const target = { cache: this.#cache(cache), layer };
    const table = rope as ReferenceRopeTable | null;
    rotateAndStore(this.#arena.floats(qkv), table, target, this.#currentBatch(), options);
  }

  pagedAttention(
    qkv: Tensor,
    cache: KvCache,
    layer: number,
    options: AttentionOptions,
    as: TensorForm,
  ): Tensor {
    const out = this.#arena.create(qkv.rows, options.numHeads * options.headDim, "f32");
    const source = { cache: this.#cache(cache), layer };
    const rounding = { ...options, dtype: this.attentionDtype };
    attend(this.#arena.floats(qkv), source, this.#currentBatch(), rounding, out.values);
    return as === "f32" ? out : this.convert(out, as);
  }

  gatherRows(x: Tensor, indices: Int32Array, count: number, first = 0): Tensor {
    const input = this.#arena.get(x);
    const out = this.#arena.create(count, x.cols, x.form);
    for (let row = 0; row < count; row += 1) {
      const from = indices[first + row]!;
      invariant(from >= 0 && from < x.rows, `row ${from} of ${x.rows} does not exist`);
      copyRow(input.values, from, out.values, row, x.rows);
      copyRow(input.codes, from, out.codes, row, x.rows);
      copyRow(input.scales, from, out.scales, row, x.rows);
    }
    return out;
  }

  moeRoute(logits: Tensor, routing: MoeRouting): void {
    routeTokens(this.#arena.floats(logits), routing);
  }

  addRows(x: Tensor, y: Tensor, target: WeightedRows, count: number, first = 0): void {
    addWeightedRows(this.#arena.floats(x), this.#arena.floats(y), target, { first, count });
  }

  sample(logits: Tensor, batch: SamplingBatch, out: SamplingOutput): void {
    invariant(batch.numRows <= logits.rows, "each sampled row has logits");
    sampleRows(this.#arena.floats(logits).values, logits.cols, batch, out);
  }

  scoreTargets(hidden: Tensor, head: LinearWeight, targets: Int32Array, out: ScoreOutput, softCap = 0): void {
    const input = this.#arena.get(hidden);
    const weight = this.#weight(head);
    invariant(
      hidden.form === head.inputForm && hidden.rows >= targets.length,
      "each target has a hidden row",
    );
    const logits = new Float32Array(Math.min(rowsPerSlab, targets.length) * head.rows);
    for (let first = 0; first < targets.length; first += rowsPerSlab) {
      const slab = targets.subarray(first, first + rowsPerSlab);
      invariant(
        slab.every((id) => id >= 0 && id < head.rows),
        "a target is outside the vocabulary",
      );
      multiply(input, { first, count: slab.length }, weight, logits);
      for (let i = 0; softCap > 0 && i < slab.length * head.rows; i += 1) {
        logits[i] = softCap * Math.tanh(logits[i]! / softCap);
      }
      scoreRows(logits, head.rows, slab, first, out);
    }
  }

  diverge(logitsB: Tensor, logitsA: Float32Array, targets: Int32Array, out: RowDivergences): void {
    divergeRows(this.#arena.floats(logitsB).values, logitsA, targets, out);
  }

  releaseAfter(x: Tensor): void {
    this.#arena.releaseAfter(x);
  }

  read(x: Tensor, into: Float32Array): void {
    into.set(this.#arena.floats(x).values);
  }

  memory(): OpsMemory {
    const total = (items: Iterable<{ readonly sizeBytes: number }>): number =>
      [...items].reduce((sum, item) => sum + item.sizeBytes, 0);
    return {
      weights: total(this.#weights),
      kvCache: total(this.#caches),
      kvHost: total(this.#hosts),
      arena: this.#arena.sizeBytes,
    };
  }

  close(): void {
    this.#weights.clear();
    this.#caches.clear();
    this.#hosts.clear();
    this.#arena.reset();
    this.#arena.reset();
  }

  #product(x: Tensor, weight: LinearWeight): ReferenceTensor {
    invariant(x.form === weight.inputForm, `${weight.name} takes ${weight.inputForm}, not ${x.form}`);
    invariant(x.cols === weight.cols, `${weight.name} takes ${weight.cols} columns, not ${x.cols}`);
    const out = this.#arena.create(x.rows, weight.rows, "f32");
    const input = this.#arena.get(this.#gathered(x, weight));
    multiply(input, { first: 0, count: x.rows }, this.#weight(weight), out.values);
    return out;
  }

  /** Replaces each element of an f32 tensor. */
  #change(x: Tensor, change: (value: number) => number): void {
    const { values } = this.#arena.floats(x);
    for (let i = 0; i < values.length; i += 1) values[i] = change(values[i]!);
  }

  #currentBatch(): RaggedBatch {
    invariant(this.#batch !== null, "an operation of a step runs outside beginStep and endStep");
    return this.#batch;
  }

  #weight(weight: LinearWeight): ReferenceWeight {
    invariant(this.#weights.has(weight), `${weight.name} belongs to another backend, or to a closed one`);
    return weight as ReferenceWeight;
  }

  #cache(cache: KvCache): ReferenceKvCache {
    invariant(this.#caches.has(cache), "a KV cache belongs to another backend, or to a closed one");
    return cache as ReferenceKvCache;
  }
}

function rowOf(x: ReferenceTensor, row: number): Float32Array {
  return x.values.subarray(row * x.cols, (row + 1) * x.cols);
}

function copyRow<A extends Float32Array | Int8Array>(
  source: A,
  from: number,
  target: A,
  to: number,
  numRows: number,
): void {
  const width = numRows === 0 ? 0 : source.length / numRows;
  target.set(source.subarray(from * width, (from + 1) * width), to * width);
}
