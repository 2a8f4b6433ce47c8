import { createRequire } from "node:module";
import { addonPath } from "../base/addon-path.ts";
import { messageOf } from "../base/errors.ts";

/** A native context: threads, weights, caches and the arena of one `Ops`. */
export type NativeContext = { readonly brand: "native context" };

/** One matrix for `packLinear`; see WeightPart in native/linear/linear.h. */
export interface NativePart {
  readonly kind: number;
  readonly dtype: number;
  readonly bits: number;
  readonly groupSize: number;
  readonly blockType: number;
  readonly pairedHeadDim: number;
  readonly rows: number;
  readonly cols: number;
  readonly data: Uint8Array;
  readonly scales: Float32Array | null;
  readonly minimums: Float32Array | null;
}

/** Per second. */
export type NativeCeilings = [
  readBytes: number,
  int8Operations: number,
  int4Operations: number,
  bf16Operations: number,
  f32Operations: number,
];

/** The functions of native/addon/addon.cc. Tensors, weights, vectors, tables and caches are integers. */
export interface NativeAddon {
  listIsas(): string[];
  /** Why the system does not let this process use the processor's AMX; empty where it does or there is none. */
  amxRefusal(): string;
  /** `isa` is one of `listIsas()`; or "amx-twin", AMX with its tiles in plain C++, on which its kernels are tested. */
  createContext(isa: string, numThreads: number, attendsInBf16: boolean): NativeContext;
  close(context: NativeContext): void;
  packLinear(
    context: NativeContext,
    parts: readonly NativePart[],
    form: number,
    paired: boolean,
  ): [id: number, sizeBytes: number, description: string];
  freeLinear(context: NativeContext, weight: number): void;
  loadVector(context: NativeContext, values: Float32Array): number;
  loadRope(context: NativeContext, cos: Float32Array, sin: Float32Array, rotaryDim: number): number;
  createKvCache(
    context: NativeContext,
    numLayers: number,
    numBlocks: number,
    blockSize: number,
    numKvHeads: number,
    headDim: number,
    dtype: number,
  ): [id: number, sizeBytes: number];
  createKvHost(context: NativeContext, cache: number, numBlocks: number): [id: number, sizeBytes: number];
  /** `host` is -1 for none. */
  moveKv(
    context: NativeContext,
    cache: number,
    host: number,
    count: number,
    kinds: Uint8Array,
    sources: Int32Array,
    targets: Int32Array,
    numTokens: Int32Array,
  ): void;
  equalKv(context: NativeContext, cache: number, blockA: number, blockB: number, numTokens: number): boolean;
  beginStep(
    context: NativeContext,
    numTokens: number,
    numSeqs: number,
    tokenIds: Int32Array,
    positions: Int32Array,
    slots: Int32Array,
    queryStarts: Int32Array,
    contextLengths: Int32Array,
    blockTables: Int32Array,
    blockTableStride: number,
  ): void;
  endStep(context: NativeContext): void;
  /** `ids` null for the batch's token ids. */
  embed(context: NativeContext, table: number, ids: Int32Array | null): number;
  rmsNorm(context: NativeContext, x: number, weight: number, eps: number, form: number): number;
  layerNorm(context: NativeContext, x: number, weight: number, bias: number, eps: number): void;
  /** `gate` as in `gateNumbers`; `bias` and `residual` -1 for none. */
  linear(
    context: NativeContext,
    x: number,
    weight: number,
    bias: number,
    residual: number,
    gate: number,
    form: number,
  ): number;
  convert(context: NativeContext, x: number, form: number): number;
  addScaled(context: NativeContext, x: number, y: number, scale: number): void;
  scale(context: NativeContext, x: number, factor: number): void;
  softCap(context: NativeContext, x: number, cap: number): void;
  gelu(context: NativeContext, x: number): void;
  gate(context: NativeContext, x: number, gate: number): number;
  /** `rope`, `qNorm` and `kNorm` are -1 for none. */
  ropeAndCache(
    context: NativeContext,
    qkv: number,
    cache: number,
    layer: number,
    numHeads: number,
    rope: number,
    qNorm: number,
    kNorm: number,
    normEps: number,
  ): void;
  pagedAttention(
    context: NativeContext,
    qkv: number,
    cache: number,
    layer: number,
    numHeads: number,
    scale: number,
    slidingWindow: number,
    softCap: number,
    isCausal: boolean,
    form: number,
  ): number;
  gatherRows(context: NativeContext, x: number, indices: Int32Array, count: number, first: number): number;
  /** Column columns[j] of each row becomes column j. */
  gatherColumns(context: NativeContext, x: number, columns: Int32Array, form: number): number;
  moeRoute(
    context: NativeContext,
    logits: number,
    topK: number,
    normalize: boolean,
    starts: Int32Array,
    rows: Int32Array,
    weights: Float32Array,
  ): void;
  addRows(
    context: NativeContext,
    x: number,
    y: number,
    rows: Int32Array,
    weights: Float32Array,
    first: number,
    count: number,
  ): void;
  sample(
    context: NativeContext,
    logits: number,
    numRows: number,
    temperature: Float32Array,
    topK: Int32Array,
    topP: Float32Array,
    minP: Float32Array,
    seeds: Uint32Array,
    counters: Uint32Array,
    biasStarts: Int32Array,
    biasIds: Int32Array,
    biasValues: Float32Array,
    penalties: Float32Array,
    historyRanges: Int32Array,
    historyIds: Int32Array,
    historyCounts: Int32Array,
    maskRows: Int32Array,
    allowed: Uint32Array,
    numLogprobs: Int32Array,
    tokenIds: Int32Array,
    logprobs: Float32Array,
    ranks: Int32Array,
    maxLogprobs: number,
    topIds: Int32Array,
    topLogprobs: Float32Array,
  ): void;
  scoreTargets(
    context: NativeContext,
    hidden: number,
    head: number,
    targets: Int32Array,
    logprobs: Float32Array,
    argmax: Int32Array,
    topK: number,
    topIds: Int32Array,
    topLogprobs: Float32Array,
    softCap: number,
  ): void;
  diverge(
    context: NativeContext,
    logitsB: number,
    logitsA: Float32Array,
    targets: Int32Array,
    kl: Float64Array,
    isSameTop: Uint8Array,
    lossA: Float64Array,
    lossB: Float64Array,
  ): void;
  read(context: NativeContext, x: number, into: Float32Array): void;
  releaseAfter(context: NativeContext, x: number): void;
  memory(context: NativeContext): [weights: number, kvCache: number, kvHost: number, arena: number];
  addGram(context: NativeContext, x: Float32Array, count: number, cols: number, gram: Float32Array): void;
  addSquares(context: NativeContext, x: Float32Array, count: number, cols: number, sums: Float32Array): void;
  factorize(context: NativeContext, matrix: Float32Array, n: number, inverse: Float32Array): boolean;
  roundRows(
    context: NativeContext,
    rows: number,
    cols: number,
    groupSize: number,
    values: Float32Array,
    codes: Uint8Array,
    scales: Float32Array,
    minimums: Float32Array | null,
    order: Int32Array,
    upper: Float32Array,
    least: number,
    most: number,
    levels: Uint8Array | null,
  ): void;
  roundBlocks(
    context: NativeContext,
    rows: number,
    cols: number,
    values: Float32Array,
    importance: Float32Array | null,
    blocks: Uint8Array,
    blockSize: number,
    blockBytes: number,
    bits: number,
    hasMinimums: boolean,
    isSearched: boolean,
    levels: Uint8Array | null,
  ): void;
  roundGroups(
    context: NativeContext,
    rows: number,
    cols: number,
    groupSize: number,
    bits: number,
    values: Float32Array,
    importance: Float32Array | null,
    codes: Uint8Array,
    scales: Uint8Array,
    zeros: Uint8Array | null,
    roundsSteps: boolean,
    isSearched: boolean,
  ): void;
  readGroups(
    context: NativeContext,
    rows: number,
    cols: number,
    groupSize: number,
    bits: number,
    codes: Uint8Array,
    scales: Uint8Array,
    zeros: Uint8Array | null,
    values: Float32Array,
  ): void;
  packCodes(
    context: NativeContext,
    codes: Uint8Array,
    rows: number,
    cols: number,
    bits: number,
    out: Uint8Array,
  ): void;
  readWeight(context: NativeContext, part: NativePart, values: Float32Array): void;
  areFinite(context: NativeContext, values: Float32Array): boolean;
  squaredErrors(
    context: NativeContext,
    wanted: Float32Array,
    written: Float32Array,
    rows: number,
    cols: number,
    sums: Float64Array,
  ): void;
  checksumRows(
    context: NativeContext,
    values: Float32Array,
    rows: number,
    cols: number,
    sums: Uint8Array,
  ): void;
  quadraticForms(
    context: NativeContext,
    x: Float32Array,
    y: Float32Array | null,
    rows: number,
    n: number,
    gram: Float32Array,
    forms: Float64Array,
  ): void;
  measureCeilings(context: NativeContext): NativeCeilings;
  /** The mapping, or the number of the system's error; 0 for an empty or special file. */
  mapFile(path: string): ArrayBuffer | number;
  /** Of a buffer from `mapFile` only: what was written to it is lost. */
  dropPages(mapping: ArrayBuffer): void;
}

export interface LoadedAddon {
  readonly addon: NativeAddon | undefined;
  /** Why there is no addon; empty when there is one. */
  readonly reason: string;
}

/** Loads the compiled kernels, or says why they cannot be had. Node keeps the module, so that this is cheap. */
export function loadAddon(): LoadedAddon {
  try {
    const addon = createRequire(import.meta.url)(addonPath) as NativeAddon;
    if (addon.listIsas().length === 0) return { addon: undefined, reason: "this processor has no AVX2" };
    return { addon, reason: "" };
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    const reason = code === "MODULE_NOT_FOUND" ? "the addon is not built" : messageOf(error);
    return { addon: undefined, reason };
  }
}
