import type { LinearEpilogue, LinearWeight, Ops, Tensor } from "../../kernels/ops.ts";
import type { LinearSpec, WeightLoader } from "../weight-loader.ts";

export interface GatedMlpConfig {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  /** All three projections have one; otherwise those in the file are used. */
  readonly hasBias: boolean;
}

/** Feed-forward block down(silu(gate(x)) · up(x)); gate and up are one paired linear (Shazeer 2020, SwiGLU). */
export class GatedMlp {
  readonly gateUp: LinearWeight;
  readonly #gateUpEpilogue: LinearEpilogue;
  readonly #down: LinearWeight;
  readonly #downBias: LinearEpilogue;
  readonly #ops: Ops;

  /** @param prefix module name, such as "model.layers.0.mlp" */
  constructor(loader: WeightLoader, prefix: string, config: GatedMlpConfig) {
    const { hiddenSize, intermediateSize, hasBias } = config;
    const gateUp: LinearSpec = {
      name: `${prefix}.gate_up_proj`,
      cols: hiddenSize,
      layout: "paired",
      parts: [
        { module: `${prefix}.gate_proj`, rows: intermediateSize },
        { module: `${prefix}.up_proj`, rows: intermediateSize },
      ],
    };
    const name = `${prefix}.down_proj`;
    const down: LinearSpec = { name, cols: intermediateSize, parts: [{ module: name, rows: hiddenSize }] };
    this.gateUp = loader.linear(gateUp);
    this.#gateUpEpilogue = { ...loader.bias(gateUp, hasBias), activation: "silu-mul" };
    this.#down = loader.linear(down);
    this.#downBias = loader.bias(down, hasBias);
    this.#ops = loader.ops;
  }

  /**
   * Adds the block's output to `residual` in place.
   *
   * @param x normed hidden states [numTokens, hiddenSize] in `gateUp.inputForm`
   */
  addTo(residual: Tensor, x: Tensor): void {
    const ops = this.#ops;
    const gated = ops.linear(x, this.gateUp, this.#gateUpEpilogue);
    const { inputForm } = this.#down;
    const input = inputForm === "f32" ? gated : ops.convert(gated, inputForm);
    ops.linear(input, this.#down, { ...this.#downBias, residual });
  }
}
