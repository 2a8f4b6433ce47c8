import type {
  AttentionOptions,
  KvCache,
  LinearWeight,
  Ops,
  RopeTable,
  Tensor,
  VectorWeight,
} from "../../kernels/ops.ts";
import type { WeightLoader } from "../weight-loader.ts";

export interface AttentionSpec extends AttentionOptions {
  readonly hiddenSize: number;
}

/** Grouped-query attention with rotary positions (Ainslie et al. 2023; Su et al. 2021). */
export interface Attention {
  /** q, k and v stacked: [(numHeads + 2 · numKvHeads) · headDim, hiddenSize]. */
  readonly qkv: LinearWeight;
  readonly qkvBias: VectorWeight | undefined;
  /** [hiddenSize, numHeads · headDim] */
  readonly output: LinearWeight;
  readonly outputBias: VectorWeight | undefined;
  readonly spec: AttentionSpec;
}

/** Loads `prefix`.{q,k,v,o}_proj. */
export function loadAttention(loader: WeightLoader, prefix: string, spec: AttentionSpec): Attention {
  const queryRows = spec.numHeads * spec.headDim;
  const kvRows = spec.numKvHeads * spec.headDim;
  const inputs = [
    { module: `${prefix}.q_proj`, rows: queryRows },
    { module: `${prefix}.k_proj`, rows: kvRows },
    { module: `${prefix}.v_proj`, rows: kvRows },
  ];
  const output = [{ module: `${prefix}.o_proj`, rows: spec.hiddenSize }];
  return {
    qkv: loader.linear(inputs, spec.hiddenSize),
    qkvBias: loader.bias(inputs),
    output: loader.linear(output, queryRows),
    outputBias: loader.bias(output),
    spec,
  };
}

/**
 * Adds the attention of one layer to the residual stream.
 *
 * @param residual f32 [numTokens, hiddenSize], updated in place
 * @param normed the same rows after the input norm, in `attention.qkv.inputForm`
 */
export function attend(
  ops: Ops,
  attention: Attention,
  stream: { readonly residual: Tensor; readonly normed: Tensor },
  position: { readonly rope: RopeTable; readonly cache: KvCache; readonly layer: number },
): void {
  const { spec, qkvBias, outputBias } = attention;
  const { rope, cache, layer } = position;
  const qkv = ops.linear(stream.normed, attention.qkv, qkvBias === undefined ? {} : { bias: qkvBias });
  ops.ropeAndCache(qkv, rope, cache, layer, spec);
  const context = ops.pagedAttention(qkv, cache, layer, spec, attention.output.inputForm);
  ops.linear(context, attention.output, {
    ...(outputBias === undefined ? {} : { bias: outputBias }),
    residual: stream.residual,
  });
}
