import { invariant } from "../../base/invariant.ts";
import type { RowDivergences } from "../../base/row-divergences.ts";
import type { OrderedWeight } from "../../base/weights.ts";
import type { NativeAddon, NativeContext } from "../addon.ts";
import { checkAttention } from "../check-attention.ts";
import type {
  AttentionDtype,
  AttentionOptions,
  AttentionShape,
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
import { formNumbers, gateNumbers, kvDtypeNumbers, toNativePart } from "./native-numbers.ts";
import { sampleRows } from "./native-sampling.ts";

/** `isa` is one of `addon.listIsas()`; `numThreads` counts the calling thread. */
export interface NativeOpsOptions extends OpsOptions {
  readonly isa: string;
}

/** Makes the backend in C++. */
export function createNativeOps(addon: NativeAddon, options: NativeOpsOptions): Ops {
  return new NativeOps(addon, options);
}

/** Checks shapes and forms, then calls the addon. Handles of another backend are caught by their owner. */
class NativeOps implements Ops {
  readonly backend = "native";
  readonly isa: string;
  readonly numThreads: number;
  readonly attentionDtype: AttentionDtype;
  readonly #addon: NativeAddon;
  readonly #context: NativeContext;
  readonly #owned: WeakSet<object> = new WeakSet();
  readonly #columns: WeakMap<LinearWeight, Int32Array> = new WeakMap();
  readonly #hostCaches: WeakMap<KvHost, KvCache> = new WeakMap();
  #isInStep = false;
  #numTokens = 0;
  #isClosed = false;

  constructor(addon: NativeAddon, { isa, numThreads, attentionDtype = "f32" }: NativeOpsOptions) {
    this.isa = isa;
    this.numThreads = numThreads;
    this.attentionDtype = attentionDtype;
    this.#addon = addon;
    this.#context = addon.createContext(isa, numThreads, attentionDtype === "bf16");
  }

  packLinear(parts: readonly OrderedWeight[], options: PackOptions): LinearWeight {
    invariant(parts.length > 0, `${options.name} has no parts`);
    const cols = parts[0]!.cols;
    const layout = options.layout ?? "rows";
    invariant(
      parts.every((part) => part.cols === cols),
      `the parts of ${options.name} differ in width`,
    );
    const form = formNumbers[options.inputForm];
    const native = parts.map(toNativePart);
    const packed = this.#addon.packLinear(this.#context, native, form, layout === "paired");
    const { columns = null, inputForm } = options;
    const weight: LinearWeight = {
      id: packed[0],
      name: options.name,
      rows: parts.reduce((sum, part) => sum + part.rows, 0),
      cols,
      ...(columns === null ? { inputForm } : { inputForm: "f32", gatheredForm: inputForm }),
      weightForm: packed[2],
      layout,
      sizeBytes: packed[1],
    };
    if (columns !== null) this.#columns.set(weight, columns);
    return this.#own(weight);
  }

  freeLinear(weight: LinearWeight): void {
    this.#checkOwned(weight, weight.name);
    invariant(!this.#isInStep, `${weight.name} is given back within a step`);
    this.#owned.delete(weight);
    this.#addon.freeLinear(this.#context, weight.id);
  }

  loadVector(values: Float32Array): VectorWeight {
    return this.#own({ id: this.#addon.loadVector(this.#context, values), length: values.length });
  }

  loadRope(cos: Float32Array, sin: Float32Array, rotaryDim: number): RopeTable {
    const half = rotaryDim / 2;
    invariant(Number.isInteger(half) && half > 0, `a rotary width of ${rotaryDim} is not even and positive`);
    invariant(cos.length === sin.length && cos.length % half === 0, "rotation tables come in equal halves");
    const id = this.#addon.loadRope(this.#context, cos, sin, rotaryDim);
    return this.#own({ id, rotaryDim, maxPositions: cos.length / half });
  }

  createKvCache(shape: KvCacheShape): KvCache {
    const { numLayers, numBlocks, blockSize, numKvHeads, headDim } = shape;
    for (const count of [numLayers, numBlocks, blockSize, numKvHeads, headDim]) {
      invariant(Number.isInteger(count) && count > 0, `a KV cache dimension is ${count}`);
    }
    const dtype = kvDtypeNumbers[shape.dtype];
    const [id, sizeBytes] = this.#addon.createKvCache(
      this.#context,
      numLayers,
      numBlocks,
      blockSize,
      numKvHeads,
      headDim,
      dtype,
    );
    return this.#own({ ...shape, id, sizeBytes });
  }

  createKvHost(cache: KvCache, numBlocks: number): KvHost {
    this.#checkOwned(cache, "a KV cache");
    invariant(Number.isInteger(numBlocks) && numBlocks > 0, `a KV host has ${numBlocks} blocks`);
    const [id, sizeBytes] = this.#addon.createKvHost(this.#context, cache.id, numBlocks);
    const host = { id, numBlocks, sizeBytes };
    this.#hostCaches.set(host, cache);
    return host;
  }

  moveKv(cache: KvCache, host: KvHost | null, moves: KvMoves): void {
    this.#checkOwned(cache, "a KV cache");
    invariant(
      host === null || this.#hostCaches.get(host) === cache,
      "a KV host belongs to another cache or backend",
    );
    const { count, kinds, sources, targets, numTokens } = moves;
    if (count === 0) return;
    const hostId = host?.id ?? -1;
    this.#addon.moveKv(this.#context, cache.id, hostId, count, kinds, sources, targets, numTokens);
  }

  equalKv(cache: KvCache, blockA: number, blockB: number, numTokens: number): boolean {
    this.#checkOwned(cache, "a KV cache");
    return this.#addon.equalKv(this.#context, cache.id, blockA, blockB, numTokens);
  }

  beginStep(batch: RaggedBatch): void {
    invariant(!this.#isClosed, "a step begins on a closed backend");
    this.#addon.beginStep(
      this.#context,
      batch.numTokens,
      batch.numSeqs,
      batch.tokenIds,
      batch.positions,
      batch.slots,
      batch.queryStarts,
      batch.contextLengths,
      batch.blockTables,
      batch.blockTableStride,
    );
    this.#isInStep = true;
    this.#numTokens = batch.numTokens;
  }

  endStep(): void {
    this.#isInStep = false;
    this.#addon.endStep(this.#context);
  }

  flush(): undefined {
    return undefined;
  }

  embed(table: LinearWeight, ids?: Int32Array): Tensor {
    this.#checkOwned(table, table.name);
    const id = this.#addon.embed(this.#context, table.id, ids ?? null);
    return { id, rows: this.#numTokens, cols: table.cols, form: "f32" };
  }

  rmsNorm(x: Tensor, weight: VectorWeight, eps: number, as: TensorForm): Tensor {
    this.#checkOwned(weight, "a norm weight");
    invariant(weight.length === x.cols, `a norm of ${weight.length} columns meets a tensor of ${x.cols}`);
    const id = this.#addon.rmsNorm(this.#context, x.id, weight.id, eps, formNumbers[as]);
    return { id, rows: x.rows, cols: x.cols, form: as };
  }

  layerNorm(x: Tensor, { weight, bias, eps }: LayerNorm): void {
    for (const vector of [weight, bias]) {
      this.#checkOwned(vector, "a norm weight");
      invariant(vector.length === x.cols, `a norm of ${vector.length} columns meets a tensor of ${x.cols}`);
    }
    this.#addon.layerNorm(this.#context, x.id, weight.id, bias.id, eps);
  }

  linear(x: Tensor, weight: LinearWeight, epilogue: LinearEpilogue = {}): Tensor {
    this.#checkOwned(weight, weight.name);
    const { bias, residual, activation, as = "f32" } = epilogue;
    const isGated = activation !== undefined;
    invariant(x.form === weight.inputForm, `${weight.name} takes ${weight.inputForm}, not ${x.form}`);
    invariant(x.cols === weight.cols, `${weight.name} takes ${weight.cols} columns, not ${x.cols}`);
    invariant(!isGated || weight.layout === "paired", "a gated activation goes with paired weights");
    invariant(residual === undefined || !isGated, "a residual goes without activation");
    invariant(residual === undefined || as === "f32", "a residual is f32");
    const id = this.#addon.linear(
      this.#context,
      this.#gatherColumns(x, weight),
      weight.id,
      bias?.id ?? -1,
      residual?.id ?? -1,
      isGated ? gateNumbers[activation] : 0,
      formNumbers[as],
    );
    if (residual !== undefined) return residual;
    return { id, rows: x.rows, cols: isGated ? weight.rows / 2 : weight.rows, form: as };
  }

  /** The tensor that the packed form takes: `x` itself where its columns are in order. */
  #gatherColumns(x: Tensor, weight: LinearWeight): number {
    const columns = this.#columns.get(weight);
    if (columns === undefined) return x.id;
    return this.#addon.gatherColumns(this.#context, x.id, columns, formNumbers[weight.gatheredForm!]);
  }

  gate(x: Tensor, activation: GatedActivation): Tensor {
    const id = this.#addon.gate(this.#context, x.id, gateNumbers[activation]);
    return { id, rows: x.rows, cols: x.cols / 2, form: "f32" };
  }

  convert(x: Tensor, as: TensorForm): Tensor {
    const id = this.#addon.convert(this.#context, x.id, formNumbers[as]);
    return { id, rows: x.rows, cols: x.cols, form: as };
  }

  addInto(x: Tensor, y: Tensor, scale = 1): void {
    invariant(x.rows === y.rows && x.cols === y.cols, "tensors that are added have the same shape");
    this.#addon.addScaled(this.#context, x.id, y.id, scale);
  }

  scale(x: Tensor, factor: number): void {
    this.#addon.scale(this.#context, x.id, factor);
  }

  softCap(x: Tensor, cap: number): void {
    invariant(cap > 0, "a soft cap is above 0");
    this.#addon.softCap(this.#context, x.id, cap);
  }

  gelu(x: Tensor): void {
    this.#addon.gelu(this.#context, x.id);
  }

  ropeAndCache(
    qkv: Tensor,
    rope: RopeTable | null,
    cache: KvCache,
    layer: number,
    options: RopeOptions,
  ): void {
    this.#checkAttention(qkv, cache, options);
    const { numHeads, qkNorm } = options;
    if (rope !== null) this.#checkOwned(rope, "a rotation table");
    if (qkNorm !== undefined) this.#checkOwned(qkNorm.q, "a norm of q");
    this.#addon.ropeAndCache(
      this.#context,
      qkv.id,
      cache.id,
      layer,
      numHeads,
      rope?.id ?? -1,
      qkNorm?.q.id ?? -1,
      qkNorm?.k.id ?? -1,
      qkNorm?.eps ?? 0,
    );
  }

  pagedAttention(
    qkv: Tensor,
    cache: KvCache,
    layer: number,
    options: AttentionOptions,
    as: TensorForm,
  ): Tensor {
    this.#checkAttention(qkv, cache, options);
    const { isCausal = true, slidingWindow = 0 } = options;
    invariant(isCausal || slidingWindow === 0, "attention to a whole sequence has no window");
    const id = this.#addon.pagedAttention(
      this.#context,
      qkv.id,
      cache.id,
      layer,
      options.numHeads,
      options.scale,
      slidingWindow,
      options.softCap ?? 0,
      isCausal,
      formNumbers[as],
    );
    return { id, rows: qkv.rows, cols: options.numHeads * options.headDim, form: as };
  }

  gatherRows(x: Tensor, indices: Int32Array, count: number, first = 0): Tensor {
    const id = this.#addon.gatherRows(this.#context, x.id, indices, count, first);
    return { id, rows: count, cols: x.cols, form: x.form };
  }

  moeRoute(logits: Tensor, { topK, normalize, starts, rows, weights }: MoeRouting): void {
    this.#addon.moeRoute(this.#context, logits.id, topK, normalize, starts, rows, weights);
  }

  addRows(x: Tensor, y: Tensor, { rows, weights }: WeightedRows, count: number, first = 0): void {
    this.#addon.addRows(this.#context, x.id, y.id, rows, weights, first, count);
  }

  sample(logits: Tensor, batch: SamplingBatch, out: SamplingOutput): void {
    invariant(batch.numRows <= logits.rows, "each sampled row has logits");
    sampleRows(this.#addon, this.#context, { logits, batch, out });
  }

  scoreTargets(hidden: Tensor, head: LinearWeight, targets: Int32Array, out: ScoreOutput, softCap = 0): void {
    this.#checkOwned(head, head.name);
    invariant(hidden.rows >= targets.length, "each target has a hidden row");
    this.#addon.scoreTargets(
      this.#context,
      hidden.id,
      head.id,
      targets,
      out.logprobs,
      out.argmax,
      out.topK,
      out.topIds,
      out.topLogprobs,
      softCap,
    );
  }

  diverge(logitsB: Tensor, logitsA: Float32Array, targets: Int32Array, out: RowDivergences): void {
    const { kl, isSameTop, lossA, lossB } = out;
    this.#addon.diverge(this.#context, logitsB.id, logitsA, targets, kl, isSameTop, lossA, lossB);
  }

  releaseAfter(x: Tensor): void {
    this.#addon.releaseAfter(this.#context, x.id);
  }

  read(x: Tensor, into: Float32Array): void {
    this.#addon.read(this.#context, x.id, into);
  }

  memory(): OpsMemory {
    const [weights, kvCache, kvHost, arena] = this.#addon.memory(this.#context);
    return { weights, kvCache, kvHost, arena };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#addon.close(this.#context);
  }

  #own<T extends object>(handle: T): T {
    this.#owned.add(handle);
    return handle;
  }

  #checkOwned(handle: object, name: string): void {
    invariant(
      this.#owned.has(handle) && !this.#isClosed,
      `${name} belongs to another backend, or to a closed one`,
    );
  }

  #checkAttention(qkv: Tensor, cache: KvCache, shape: AttentionShape): void {
    this.#checkOwned(cache, "a KV cache");
    invariant(this.#isInStep, "attention runs outside beginStep and endStep");
    checkAttention(qkv, cache, shape);
  }
}
