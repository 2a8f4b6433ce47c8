import type {
  AttentionOptions,
  KvCache,
  LinearEpilogue,
  LinearWeight,
  Ops,
  RopeTable,
  Tensor,
} from "../../kernels/ops.ts";
import type { LinearSpec, WeightLoader } from "../weight-loader.ts";

export interface AttentionConfig extends AttentionOptions {
  readonly hiddenSize: number;
  /** All four projections have one; otherwise those in the file are used. */
  readonly hasBias: boolean;
}

/** Grouped-query self-attention with rotary positions; q, k and v are one linear. */
export class Attention {
  readonly qkv: LinearWeight;
  readonly #qkvEpilogue: LinearEpilogue;
  readonly #output: LinearWeight;
  readonly #outputBias: LinearEpilogue;
  readonly #ops: Ops;
  readonly #rope: RopeTable;
  readonly #options: AttentionOptions;
  readonly #layer: number;

  /** @param prefix module name, such as "model.layers.0.self_attn" */
  constructor(loader: WeightLoader, prefix: string, layer: number, rope: RopeTable, config: AttentionConfig) {
    const { hiddenSize, numHeads, numKvHeads, headDim } = config;
    const qkv: LinearSpec = {
      name: `${prefix}.qkv_proj`,
      cols: hiddenSize,
      parts: [
        { module: `${prefix}.q_proj`, rows: numHeads * headDim },
        { module: `${prefix}.k_proj`, rows: numKvHeads * headDim },
        { module: `${prefix}.v_proj`, rows: numKvHeads * headDim },
      ],
    };
    const name = `${prefix}.o_proj`;
    const output: LinearSpec = {
      name,
      cols: numHeads * headDim,
      parts: [{ module: name, rows: hiddenSize }],
    };
    this.qkv = loader.linear(qkv);
    this.#qkvEpilogue = loader.bias(qkv, config.hasBias);
    this.#output = loader.linear(output);
    this.#outputBias = loader.bias(output, config.hasBias);
    this.#ops = loader.ops;
    this.#rope = rope;
    this.#options = config;
    this.#layer = layer;
  }

  /**
   * Adds the block's output to `residual` in place.
   *
   * @param x normed hidden states [numTokens, hiddenSize] in `qkv.inputForm`
   */
  addTo(residual: Tensor, x: Tensor, cache: KvCache): void {
    const ops = this.#ops;
    const qkv = ops.linear(x, this.qkv, this.#qkvEpilogue);
    ops.ropeAndCache(qkv, this.#rope, cache, this.#layer, this.#options);
    const mixed = ops.pagedAttention(qkv, cache, this.#layer, this.#options, this.#output.inputForm);
    ops.linear(mixed, this.#output, { ...this.#outputBias, residual });
  }
}
