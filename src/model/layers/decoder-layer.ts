import type { KvCache, Ops, Tensor, TensorForm, VectorWeight } from "../../kernels/ops.ts";
import type { Attention } from "./attention.ts";
import type { Mlp } from "./gated-mlp.ts";
import { inForm } from "./tensor-forms.ts";

export interface DecoderLayerParts {
  readonly attention: Attention;
  readonly mlp: Mlp;
  /** RMS norms of what goes into each block; null for none (OLMo 2, which norms what comes out). */
  readonly attentionNorm: VectorWeight | null;
  readonly mlpNorm: VectorWeight | null;
  readonly eps: number;
}

/** One decoder block: attention and a feed-forward block, each around the residual stream. */
export class DecoderLayer {
  readonly #ops: Ops;
  readonly #parts: DecoderLayerParts;

  constructor(ops: Ops, parts: DecoderLayerParts) {
    this.#ops = ops;
    this.#parts = parts;
  }

  /** @param x hidden states [numTokens, hiddenSize] f32, updated in place; tensors made after it end their life */
  forward(x: Tensor, cache: KvCache): void {
    const { attention, mlp, attentionNorm, mlpNorm } = this.#parts;
    attention.addTo(x, this.#enter(x, attentionNorm, attention.qkv.inputForm), cache);
    // Each block finds the memory of the one before, which is still in the processor's cache.
    this.#ops.releaseAfter(x);
    mlp.addTo(x, this.#enter(x, mlpNorm, mlp.inputForm));
    this.#ops.releaseAfter(x);
  }

  #enter(x: Tensor, norm: VectorWeight | null, form: TensorForm): Tensor {
    if (norm === null) return inForm(this.#ops, x, form);
    return this.#ops.rmsNorm(x, norm, this.#parts.eps, form);
  }
}
