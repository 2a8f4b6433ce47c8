import type {
  LinearEpilogue,
  LinearWeight,
  Ops,
  Tensor,
  TensorForm,
  VectorWeight,
} from "../../kernels/ops.ts";
import type { LinearSpec, WeightLoader } from "../weight-loader.ts";

/** How a block's output meets the residual stream. */
export interface ResidualOptions {
  /** RMS norm of the output before it is added (Gemma 2, OLMo 2), or null. */
  readonly norm: VectorWeight | null;
  readonly eps: number;
  /** Multiplies the output (Granite); 1 for none. */
  readonly scale: number;
}

/** The last linear of a block, whose output goes to the residual stream. */
export class OutputLinear {
  readonly inputForm: TensorForm;
  readonly #weight: LinearWeight;
  readonly #bias: LinearEpilogue;
  readonly #residual: ResidualOptions;
  readonly #ops: Ops;

  /** @param hasBias it must have one; otherwise one in the file is used */
  constructor(loader: WeightLoader, spec: LinearSpec, hasBias: boolean, residual: ResidualOptions) {
    this.#ops = loader.ops;
    this.#weight = loader.linear(spec);
    this.#bias = loader.bias(spec, hasBias);
    this.#residual = residual;
    this.inputForm = this.#weight.inputForm;
  }

  /** f32 [numTokens, hiddenSize], not added. */
  apply(x: Tensor): Tensor {
    return this.#ops.linear(x, this.#weight, this.#bias);
  }

  /** Adds the output to `residual` in place. */
  addTo(residual: Tensor, x: Tensor): void {
    const { norm, eps, scale } = this.#residual;
    if (norm === null && scale === 1) {
      this.#ops.linear(x, this.#weight, { ...this.#bias, residual });
      return;
    }
    const output = this.apply(x);
    const normed = norm === null ? output : this.#ops.rmsNorm(output, norm, eps, "f32");
    this.#ops.addInto(residual, normed, scale);
  }
}
