import type { ModelConfig } from "../formats/model-config.ts";
import type { KvCache, LinearWeight, Ops, RaggedBatch, Tensor, VectorWeight } from "../kernels/ops.ts";
import type { CausalModel } from "./causal-model.ts";
import { Attention, type AttentionConfig } from "./layers/attention.ts";
import { DecoderLayer } from "./layers/decoder-layer.ts";
import { GatedMlp } from "./layers/gated-mlp.ts";
import { loadRopeTable } from "./layers/rope.ts";
import type { WeightLoader } from "./weight-loader.ts";

/**
 * Llama 1 to 3, SmolLM, SmolLM2 (`LlamaForCausalLM`) and Mistral (`MistralForCausalLM`): pre-norm decoder blocks
 * with rotary positions, grouped-query attention, an optional sliding window and a gated MLP.
 */
export class LlamaModel implements CausalModel {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly kvShape: CausalModel["kvShape"];
  readonly head: LinearWeight;
  readonly #ops: Ops;
  readonly #embedding: LinearWeight;
  readonly #layers: readonly DecoderLayer[];
  readonly #norm: VectorWeight;
  readonly #eps: number;

  constructor(loader: WeightLoader, config: ModelConfig, maxModelLen: number) {
    const { vocabSize, hiddenSize, numLayers, numKvHeads, headDim } = config;
    this.vocabSize = vocabSize;
    this.hiddenSize = hiddenSize;
    this.kvShape = { numLayers, numKvHeads, headDim };
    this.#ops = loader.ops;
    this.#eps = config.rmsNormEps;
    const table = (name: string): LinearWeight =>
      loader.linear({ name, cols: hiddenSize, parts: [{ module: name, rows: vocabSize }] });
    this.#embedding = table("model.embed_tokens");
    this.#layers = buildLayers(loader, config, maxModelLen);
    this.#norm = loader.vector("model.norm.weight", hiddenSize);
    this.head = config.tieWordEmbeddings ? this.#embedding : table("lm_head");
  }

  forward(_batch: RaggedBatch, cache: KvCache): Tensor {
    const hidden = this.#ops.embed(this.#embedding);
    for (const layer of this.#layers) layer.forward(hidden, cache);
    return hidden;
  }

  finalNorm(hidden: Tensor, rows: Int32Array, count: number): Tensor {
    const chosen = this.#ops.gatherRows(hidden, rows, count);
    return this.#ops.rmsNorm(chosen, this.#norm, this.#eps, this.head.inputForm);
  }

  logits(normed: Tensor): Tensor {
    return this.#ops.linear(normed, this.head);
  }
}

function buildLayers(loader: WeightLoader, config: ModelConfig, maxModelLen: number): DecoderLayer[] {
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, rmsNormEps: eps } = config;
  const { maxPositionEmbeddings } = config;
  const ropeOptions = { ...config.rope, rotaryDim: headDim, maxPositionEmbeddings };
  const rope = loadRopeTable(loader.ops, ropeOptions, maxModelLen);
  const attention: AttentionConfig = {
    hiddenSize,
    numHeads,
    numKvHeads,
    headDim,
    hasBias: config.attentionBias,
    scale: 1 / Math.sqrt(headDim),
    slidingWindow: config.slidingWindow ?? 0,
  };
  const mlp = { hiddenSize, intermediateSize, hasBias: config.mlpBias };
  return Array.from({ length: config.numLayers }, (_, index) => {
    const prefix = `model.layers.${index}`;
    return new DecoderLayer(loader.ops, {
      attention: new Attention(loader, `${prefix}.self_attn`, index, rope, attention),
      mlp: new GatedMlp(loader, `${prefix}.mlp`, mlp),
      inputNorm: loader.vector(`${prefix}.input_layernorm.weight`, hiddenSize),
      postAttentionNorm: loader.vector(`${prefix}.post_attention_layernorm.weight`, hiddenSize),
      eps,
    });
  });
}
