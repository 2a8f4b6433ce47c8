import { MillraceError } from "../../base/errors.ts";
import type {
  GatedActivation,
  LinearEpilogue,
  LinearWeight,
  Ops,
  Tensor,
  TensorForm,
} from "../../kernels/ops.ts";
import type { LinearSpec, WeightLoader } from "../weight-loader.ts";
import { OutputLinear, type ResidualOptions } from "./output-linear.ts";

/** The part of a decoder layer after attention. */
export interface Mlp {
  /** Form in which `addTo` takes its input. */
  readonly inputForm: TensorForm;
  /**
   * Adds the block's output to `residual` in place.
   *
   * @param x hidden states [numTokens, hiddenSize] in `inputForm`
   */
  addTo(residual: Tensor, x: Tensor): void;
}

export interface GatedMlpConfig {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  /** Name of the activation function in config.json. */
  readonly hiddenAct: string;
  /** All three projections must have one; otherwise those in the file are used. */
  readonly hasBias?: boolean;
  /** Names of gate, up and down in the file; default gate_proj, up_proj, down_proj. */
  readonly names?: readonly [gate: string, up: string, down: string];
  /** Gate and up are one matrix in the file, `gate_up_proj`. */
  readonly isFused?: boolean;
  /** It is one of a mixture. */
  readonly isExpert?: boolean;
  readonly residual: ResidualOptions;
}

/** Activation functions of config.json by the epilogue that computes them; two names mean the tanh form of GELU. */
const activations: Readonly<Record<string, GatedActivation>> = {
  silu: "silu-mul",
  swish: "silu-mul",
  gelu_pytorch_tanh: "gelu-mul",
  gelu_new: "gelu-mul",
};

/** Feed-forward block down(act(gate(x)) · up(x)); gate and up are one paired linear (Shazeer 2020, GLU variants). */
export class GatedMlp implements Mlp {
  readonly inputForm: TensorForm;
  readonly #gateUp: LinearWeight;
  readonly #gateUpEpilogue: LinearEpilogue;
  readonly #down: OutputLinear;
  readonly #ops: Ops;

  /** @param prefix module name, such as "model.layers.0.mlp" */
  constructor(loader: WeightLoader, prefix: string, config: GatedMlpConfig) {
    const { hiddenSize, intermediateSize, hasBias = false, isExpert = false } = config;
    const [gate, up, down] = config.names ?? ["gate_proj", "up_proj", "down_proj"];
    const gateUp = gateUpSpec(`${prefix}.`, [gate, up], config);
    const name = `${prefix}.${down}`;
    const downSpec: LinearSpec = {
      name,
      cols: intermediateSize,
      parts: [{ module: name, rows: hiddenSize }],
      isExpert,
    };
    this.#gateUp = loader.linear(gateUp);
    this.#down = new OutputLinear(loader, downSpec, hasBias, config.residual);
    this.#gateUpEpilogue = {
      ...loader.bias(gateUp, hasBias),
      activation: findActivation(config.hiddenAct),
      as: this.#down.inputForm,
    };
    this.#ops = loader.ops;
    this.inputForm = this.#gateUp.inputForm;
  }

  addTo(residual: Tensor, x: Tensor): void {
    this.#down.addTo(residual, this.#gated(x));
  }

  /** f32 [numTokens, hiddenSize], not added. */
  apply(x: Tensor): Tensor {
    return this.#down.apply(this.#gated(x));
  }

  #gated(x: Tensor): Tensor {
    return this.#ops.linear(x, this.#gateUp, this.#gateUpEpilogue);
  }
}

function gateUpSpec(
  prefix: string,
  [gate, up]: readonly [gate: string, up: string],
  { hiddenSize: cols, intermediateSize: rows, isFused, isExpert = false }: GatedMlpConfig,
): LinearSpec {
  const name = `${prefix}gate_up_proj`;
  const parts = isFused
    ? [
        { module: name, rows, slice: { first: 0, total: 2 * rows } },
        { module: name, rows, slice: { first: rows, total: 2 * rows } },
      ]
    : [
        { module: prefix + gate, rows },
        { module: prefix + up, rows },
      ];
  return { name, cols, layout: "paired", parts, isExpert };
}

/** Throws `unsupported_format` for an activation function without a kernel. */
export function findActivation(hiddenAct: string): GatedActivation {
  const activation = Object.hasOwn(activations, hiddenAct) ? activations[hiddenAct] : undefined;
  if (activation !== undefined) return activation;
  throw new MillraceError(
    "unsupported_format",
    `The model's activation function is ${JSON.stringify(hiddenAct)}; gated feed-forward blocks run here with ${Object.keys(activations).join(", ")}. Use another model.`,
  );
}
