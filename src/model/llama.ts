import type { ModelConfig } from "../formats/model-config.ts";
import type { KvCache, LinearWeight, Ops, RaggedBatch, RopeTable, Tensor, VectorWeight } from "../kernels/ops.ts";
import type { CausalModel } from "./causal-model.ts";
import { type Attention, attend, loadAttention } from "./layers/attention.ts";
import { applyGatedMlp, type GatedMlp, loadGatedMlp } from "./layers/gated-mlp.ts";
import { ropeFrequencies } from "./layers/rope-frequencies.ts";
import { loadRopeTable } from "./layers/rope-table.ts";
import type { WeightLoader } from "./weight-loader.ts";

interface DecoderLayer {
  readonly inputNorm: VectorWeight;
  readonly attention: Attention;
  readonly postAttentionNorm: VectorWeight;
  readonly mlp: GatedMlp;
}

/** Llama (Touvron et al. 2023) and what is built like it: SmolLM, SmolLM2, Llama 3. */
export class LlamaModel implements CausalModel {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly kvShape: CausalModel["kvShape"];
  readonly head: LinearWeight;
  readonly #ops: Ops;
  readonly #eps: number;
  readonly #embedding: LinearWeight;
  readonly #layers: readonly DecoderLayer[];
  readonly #norm: VectorWeight;
  readonly #rope: RopeTable;

  constructor(loader: WeightLoader, config: ModelConfig, maxModelLen: number) {
    const { hiddenSize, vocabSize, numLayers, numKvHeads, headDim } = config;
    this.vocabSize = vocabSize;
    this.hiddenSize = hiddenSize;
    this.kvShape = { numLayers, numKvHeads, headDim };
    this.#ops = loader.ops;
    this.#eps = config.rmsNormEps;
    this.#embedding = loader.linear([{ module: "model.embed_tokens", rows: vocabSize }], hiddenSize);
    this.#layers = Array.from({ length: numLayers }, (_, layer) => loadLayer(loader, config, layer));
    this.#norm = loader.vector("model.norm.weight", hiddenSize);
    this.head = config.tieWordEmbeddings
      ? this.#embedding
      : loader.linear([{ module: "lm_head", rows: vocabSize }], hiddenSize);
    const frequencies = ropeFrequencies(config.rope, headDim, config.maxPositionEmbeddings);
    this.#rope = loadRopeTable(loader.ops, frequencies, maxModelLen);
  }

  forward(_batch: RaggedBatch, cache: KvCache): Tensor {
    const ops = this.#ops;
    const residual = ops.embed(this.#embedding);
    for (const [index, layer] of this.#layers.entries()) {
      const { attention, mlp } = layer;
      const attentionInput = ops.rmsNorm(residual, layer.inputNorm, this.#eps, attention.qkv.inputForm);
      const position = { rope: this.#rope, cache, layer: index };
      attend(ops, attention, { residual, normed: attentionInput }, position);
      const mlpInput = ops.rmsNorm(residual, layer.postAttentionNorm, this.#eps, mlp.gateUp.inputForm);
      applyGatedMlp(ops, mlp, residual, mlpInput);
    }
    return residual;
  }

  finalNorm(hidden: Tensor, rows: Int32Array, count: number): Tensor {
    const chosen = this.#ops.gatherRows(hidden, rows, count);
    return this.#ops.rmsNorm(chosen, this.#norm, this.#eps, this.head.inputForm);
  }

  logits(normed: Tensor): Tensor {
    return this.#ops.linear(normed, this.head);
  }
}

function loadLayer(loader: WeightLoader, config: ModelConfig, layer: number): DecoderLayer {
  const { hiddenSize, numHeads, numKvHeads, headDim } = config;
  const prefix = `model.layers.${layer}`;
  return {
    inputNorm: loader.vector(`${prefix}.input_layernorm.weight`, hiddenSize),
    attention: loadAttention(loader, `${prefix}.self_attn`, {
      hiddenSize,
      numHeads,
      numKvHeads,
      headDim,
      scale: 1 / Math.sqrt(headDim),
      slidingWindow: config.slidingWindow ?? 0,
    }),
    postAttentionNorm: loader.vector(`${prefix}.post_attention_layernorm.weight`, hiddenSize),
    mlp: loadGatedMlp(loader, `${prefix}.mlp`, config),
  };
}
