import type { KvCache, Ops, Tensor, VectorWeight } from "../../kernels/ops.ts";
import type { Attention } from "./attention.ts";
import type { GatedMlp } from "./gated-mlp.ts";

export interface DecoderLayerParts {
  readonly attention: Attention;
  readonly mlp: GatedMlp;
  readonly inputNorm: VectorWeight;
  readonly postAttentionNorm: VectorWeight;
  readonly eps: number;
}

/** One pre-norm decoder block of Llama (Touvron et al. 2023, section 2.2). */
export class DecoderLayer {
  readonly #ops: Ops;
  readonly #parts: DecoderLayerParts;

  constructor(ops: Ops, parts: DecoderLayerParts) {
    this.#ops = ops;
    this.#parts = parts;
  }

  /** @param x hidden states [numTokens, hiddenSize] f32, updated in place; tensors made after it end their life */
  forward(x: Tensor, cache: KvCache): void {
    const { attention, mlp, inputNorm, postAttentionNorm, eps } = this.#parts;
    attention.addTo(x, this.#ops.rmsNorm(x, inputNorm, eps, attention.qkv.inputForm), cache);
    mlp.addTo(x, this.#ops.rmsNorm(x, postAttentionNorm, eps, mlp.gateUp.inputForm));
    this.#ops.releaseAfter(x);
  }
}
