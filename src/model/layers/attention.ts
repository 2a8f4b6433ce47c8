import type {
  AttentionOptions,
  AttentionShape,
  KvCache,
  LinearEpilogue,
  LinearWeight,
  Ops,
  QkNorm,
  RopeOptions,
  RopeTable,
  Tensor,
} from "../../kernels/ops.ts";
import type { LinearSpec, WeightLoader } from "../weight-loader.ts";
import { OutputLinear, type ResidualOptions } from "./output-linear.ts";

/** What differs between families, and between the layers of one. */
export interface SelfAttentionOptions {
  /** Null for a layer without rotation. */
  readonly rope: RopeTable | null;
  /** Multiplies q·k; default 1 / sqrt(headDim). */
  readonly scale?: number;
  /** Attend to the last so many positions; 0, the default, for all. */
  readonly slidingWindow?: number;
  /** softCap · tanh(score / softCap); 0, the default, for none. */
  readonly softCap?: number;
  /** q, k and v must have biases, and the output; otherwise those in the file are used. */
  readonly hasQkvBias?: boolean;
  readonly hasOutputBias?: boolean;
  /** RMS norms of q and k before the rotation: of each head, or of all heads together. */
  readonly qkNorm?: "head" | "row";
  /** q, k and v are one matrix in the file, `qkv_proj`. */
  readonly isFused?: boolean;
}

export interface AttentionConfig extends SelfAttentionOptions, AttentionShape {
  readonly hiddenSize: number;
  readonly normEps: number;
  /** Added to the stored weights of the norms. */
  readonly normOffset: number;
  readonly residual: ResidualOptions;
}

/** Grouped-query self-attention; q, k and v are one linear. */
export class Attention {
  readonly qkv: LinearWeight;
  readonly #qkvEpilogue: LinearEpilogue;
  readonly #output: OutputLinear;
  readonly #ops: Ops;
  readonly #rope: RopeTable | null;
  readonly #ropeOptions: RopeOptions;
  readonly #options: AttentionOptions;
  readonly #layer: number;

  /** @param prefix module name, such as "model.layers.0.self_attn" */
  constructor(loader: WeightLoader, prefix: string, layer: number, config: AttentionConfig) {
    const { numHeads, numKvHeads, headDim } = config;
    const shape = { numHeads, numKvHeads, headDim };
    const qkv = qkvSpec(prefix, config);
    const output: LinearSpec = {
      name: `${prefix}.o_proj`,
      cols: numHeads * headDim,
      parts: [{ module: `${prefix}.o_proj`, rows: config.hiddenSize }],
    };
    this.qkv = loader.linear(qkv);
    this.#qkvEpilogue = loader.bias(qkv, config.hasQkvBias ?? false);
    this.#output = new OutputLinear(loader, output, config.hasOutputBias ?? false, config.residual);
    this.#ops = loader.ops;
    this.#rope = config.rope;
    this.#ropeOptions = { ...shape, qkNorm: loadQkNorm(loader, prefix, config) };
    this.#options = {
      ...shape,
      scale: config.scale ?? 1 / Math.sqrt(headDim),
      slidingWindow: config.slidingWindow ?? 0,
      softCap: config.softCap ?? 0,
    };
    this.#layer = layer;
  }

  /**
   * Adds the block's output to `residual` in place.
   *
   * @param x hidden states [numTokens, hiddenSize] in `qkv.inputForm`
   */
  addTo(residual: Tensor, x: Tensor, cache: KvCache): void {
    const ops = this.#ops;
    const qkv = ops.linear(x, this.qkv, this.#qkvEpilogue);
    ops.ropeAndCache(qkv, this.#rope, cache, this.#layer, this.#ropeOptions);
    const mixed = ops.pagedAttention(qkv, cache, this.#layer, this.#options, this.#output.inputForm);
    this.#output.addTo(residual, mixed);
  }
}

function qkvSpec(prefix: string, config: AttentionConfig): LinearSpec {
  const { hiddenSize: cols, numHeads, numKvHeads, headDim } = config;
  const name = `${prefix}.qkv_proj`;
  const [qRows, kvRows] = [numHeads * headDim, numKvHeads * headDim];
  if (config.isFused) return { name, cols, parts: [{ module: name, rows: qRows + 2 * kvRows }] };
  const parts = [
    { module: `${prefix}.q_proj`, rows: qRows },
    { module: `${prefix}.k_proj`, rows: kvRows },
    { module: `${prefix}.v_proj`, rows: kvRows },
  ];
  return { name, cols, parts };
}

function loadQkNorm(loader: WeightLoader, prefix: string, config: AttentionConfig): QkNorm | undefined {
  const { qkNorm, numHeads, numKvHeads, headDim, normEps, normOffset } = config;
  if (qkNorm === undefined) return undefined;
  const load = (name: string, heads: number) =>
    loader.vector(`${prefix}.${name}.weight`, qkNorm === "head" ? headDim : heads * headDim, normOffset);
  return { q: load("q_norm", numHeads), k: load("k_norm", numKvHeads), eps: normEps };
}
