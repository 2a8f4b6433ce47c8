import type { LinearWeight, Ops, Tensor, VectorWeight } from "../../kernels/ops.ts";
import type { WeightLoader } from "../weight-loader.ts";

/** down(silu(gate(x)) · up(x)) (Shazeer 2020, "GLU Variants Improve Transformer"). */
export interface GatedMlp {
  /** gate and up interleaved: [2 · intermediateSize, hiddenSize]. */
  readonly gateUp: LinearWeight;
  readonly gateUpBias: VectorWeight | undefined;
  /** [hiddenSize, intermediateSize] */
  readonly down: LinearWeight;
  readonly downBias: VectorWeight | undefined;
}

/** Loads `prefix`.{gate,up,down}_proj. */
export function loadGatedMlp(
  loader: WeightLoader,
  prefix: string,
  sizes: { readonly hiddenSize: number; readonly intermediateSize: number },
): GatedMlp {
  const { hiddenSize, intermediateSize } = sizes;
  const inputs = [
    { module: `${prefix}.gate_proj`, rows: intermediateSize },
    { module: `${prefix}.up_proj`, rows: intermediateSize },
  ];
  const output = [{ module: `${prefix}.down_proj`, rows: hiddenSize }];
  return {
    gateUp: loader.linear(inputs, hiddenSize, "paired"),
    gateUpBias: loader.bias(inputs),
    down: loader.linear(output, intermediateSize),
    downBias: loader.bias(output),
  };
}

/**
 * Adds the MLP of one layer to the residual stream.
 *
 * @param residual f32 [numTokens, hiddenSize], updated in place
 * @param normed the same rows after the norm, in `mlp.gateUp.inputForm`
 */
export function applyGatedMlp(ops: Ops, mlp: GatedMlp, residual: Tensor, normed: Tensor): void {
  const { gateUpBias, downBias } = mlp;
  const gated = ops.linear(normed, mlp.gateUp, {
    ...(gateUpBias === undefined ? {} : { bias: gateUpBias }),
    activation: "silu-mul",
  });
  ops.linear(ops.convert(gated, mlp.down.inputForm), mlp.down, {
    ...(downBias === undefined ? {} : { bias: downBias }),
    residual,
  });
}
