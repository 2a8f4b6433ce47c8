import type { ModelConfig } from "../formats/model-config.ts";
import type { KvCache, LinearWeight, Ops, Tensor, VectorWeight } from "../kernels/ops.ts";
import type { CausalModel } from "./causal-model.ts";
import { Attention, type SelfAttentionOptions } from "./layers/attention.ts";
import { DecoderLayer } from "./layers/decoder-layer.ts";
import { GatedMlp, type GatedMlpConfig, type Mlp } from "./layers/gated-mlp.ts";
import { MoeMlp, type MoeMlpConfig } from "./layers/moe-mlp.ts";
import type { ResidualOptions } from "./layers/output-linear.ts";
import type { WeightLoader } from "./weight-loader.ts";

/** What a family says of one of its layers. */
export interface LayerOptions {
  readonly attention: SelfAttentionOptions;
  /** Default: a gated block with the names of Llama. */
  readonly mlp?: Pick<GatedMlpConfig, "hasBias" | "isFused">;
  /** A mixture of experts in its place. */
  readonly moe?: Pick<MoeMlpConfig, "experts" | "normalize" | "names"> & {
    /** Module of the layer that holds router and experts. */
    readonly module: string;
  };
}

/** What a family says of itself; everything that is left out is as in Llama. */
export interface DecoderOptions {
  /**
   * Where the norms of a layer stand: before each block, after each block's output, or both. Named as in transformers.
   */
  readonly norms?: "pre" | "post" | "both";
  /** Added to the stored weights of all norms: 1 for Gemma, which stores w of 1 + w. */
  readonly normOffset?: number;
  /** Multiplies the embeddings. */
  readonly embeddingScale?: number;
  /** Multiplies what each block adds. */
  readonly residualScale?: number;
  /** Multiplies the logits. */
  readonly logitScale?: number;
  /** softCap · tanh(logit / softCap). */
  readonly logitSoftCap?: number;
  readonly layer: (index: number) => LayerOptions;
}

interface NormNames {
  readonly attention: string | null;
  readonly attentionOutput: string | null;
  readonly mlp: string | null;
  readonly mlpOutput: string | null;
}

const normNames: Readonly<Record<"pre" | "post" | "both", NormNames>> = {
  pre: {
    attention: "input_layernorm",
    attentionOutput: null,
    mlp: "post_attention_layernorm",
    mlpOutput: null,
  },
  post: {
    attention: null,
    attentionOutput: "post_attention_layernorm",
    mlp: null,
    mlpOutput: "post_feedforward_layernorm",
  },
  both: {
    attention: "input_layernorm",
    attentionOutput: "post_attention_layernorm",
    mlp: "pre_feedforward_layernorm",
    mlpOutput: "post_feedforward_layernorm",
  },
};

/** A decoder-only language model made of the shared layers as its family's options say. */
export class DecoderModel implements CausalModel {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly kvShape: CausalModel["kvShape"];
  readonly head: LinearWeight;
  readonly logitSoftCap: number;
  readonly #ops: Ops;
  readonly #embedding: LinearWeight;
  readonly #embeddingScale: number;
  readonly #layers: readonly DecoderLayer[];
  readonly #norm: VectorWeight;
  readonly #eps: number;

  constructor(loader: WeightLoader, config: ModelConfig, options: DecoderOptions) {
    const { vocabSize, hiddenSize, numLayers, numKvHeads, headDim } = config;
    const { normOffset = 0, logitScale = 1 } = options;
    this.vocabSize = vocabSize;
    this.hiddenSize = hiddenSize;
    this.kvShape = { numLayers, numKvHeads, headDim };
    this.#ops = loader.ops;
    this.#eps = config.rmsNormEps;
    this.#embeddingScale = options.embeddingScale ?? 1;
    this.logitSoftCap = options.logitSoftCap ?? 0;
    const table = (name: string): LinearWeight =>
      loader.linear({ name, cols: hiddenSize, parts: [{ module: name, rows: vocabSize }], isTable: true });
    this.#embedding = table("model.embed_tokens");
    this.#layers = Array.from({ length: numLayers }, (_, index) =>
      buildLayer(loader, config, options, index),
    );
    // The head is linear without a bias: scaling its input scales the logits, whatever the head's form.
    this.#norm = loader.vector("model.norm.weight", hiddenSize, normOffset, logitScale);
    this.head = config.tieWordEmbeddings ? this.#embedding : table("lm_head");
  }

  forward(cache: KvCache): Tensor {
    const hidden = this.#ops.embed(this.#embedding);
    if (this.#embeddingScale !== 1) this.#ops.scale(hidden, this.#embeddingScale);
    for (const layer of this.#layers) layer.forward(hidden, cache);
    return hidden;
  }

  finalNorm(hidden: Tensor, rows: Int32Array, count: number): Tensor {
    const chosen = this.#ops.gatherRows(hidden, rows, count);
    return this.#ops.rmsNorm(chosen, this.#norm, this.#eps, this.head.inputForm);
  }

  logits(normed: Tensor): Tensor {
    const logits = this.#ops.linear(normed, this.head);
    if (this.logitSoftCap > 0) this.#ops.softCap(logits, this.logitSoftCap);
    return logits;
  }
}

function buildLayer(
  loader: WeightLoader,
  config: ModelConfig,
  options: DecoderOptions,
  index: number,
): DecoderLayer {
  const { hiddenSize, numHeads, numKvHeads, headDim, rmsNormEps: eps } = config;
  const { normOffset = 0, residualScale: scale = 1 } = options;
  const names = normNames[options.norms ?? "pre"];
  const layer = options.layer(index);
  const prefix = `model.layers.${index}`;
  const norm = (name: string | null): VectorWeight | null =>
    name === null ? null : loader.vector(`${prefix}.${name}.weight`, hiddenSize, normOffset);
  return new DecoderLayer(loader.ops, {
    attention: new Attention(loader, `${prefix}.self_attn`, index, {
      hiddenSize,
      numHeads,
      numKvHeads,
      headDim,
      normOffset,
      normEps: eps,
      residual: { norm: norm(names.attentionOutput), eps, scale },
      ...layer.attention,
    }),
    mlp: buildMlp(loader, config, layer, prefix, { norm: norm(names.mlpOutput), eps, scale }),
    attentionNorm: norm(names.attention),
    mlpNorm: norm(names.mlp),
    eps,
  });
}

function buildMlp(
  loader: WeightLoader,
  { hiddenSize, intermediateSize, hiddenAct }: ModelConfig,
  { mlp, moe }: LayerOptions,
  prefix: string,
  residual: ResidualOptions,
): Mlp {
  if (moe === undefined) {
    const shape = { hiddenSize, intermediateSize, hiddenAct, residual };
    return new GatedMlp(loader, `${prefix}.mlp`, { ...shape, ...mlp });
  }
  const { module, ...own } = moe;
  return new MoeMlp(loader, `${prefix}.${module}`, { hiddenSize, hiddenAct, residual, ...own });
}
