import { MillraceError } from "../../base/errors.ts";
import type { ModelConfig } from "../../formats/model-config.ts";
import type {
  AttentionOptions,
  KvCache,
  LayerNorm,
  LinearEpilogue,
  LinearWeight,
  Ops,
  RaggedBatch,
  Tensor,
} from "../../kernels/ops.ts";
import type { EncoderModel } from "../encoder-model.ts";
import { inForm } from "../layers/tensor-forms.ts";
import { readConfig } from "../read-config.ts";
import type { LinearSpec, WeightLoader } from "../weight-loader.ts";

interface BiasedLinear {
  readonly weight: LinearWeight;
  readonly bias: LinearEpilogue;
}

interface EncoderLayer {
  readonly qkv: BiasedLinear;
  readonly attentionOutput: BiasedLinear;
  readonly attentionNorm: LayerNorm;
  readonly intermediate: BiasedLinear;
  readonly output: BiasedLinear;
  readonly outputNorm: LayerNorm;
}

/** BERT and MiniLM (`BertModel`; Devlin et al. 2018): learned positions, a layer norm after each block, GELU by erf. */
export class BertModel implements EncoderModel {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly kvShape: EncoderModel["kvShape"];
  readonly #ops: Ops;
  readonly #words: LinearWeight;
  readonly #types: LinearWeight;
  readonly #positions: LinearWeight;
  readonly #norm: LayerNorm;
  readonly #layers: readonly EncoderLayer[];
  readonly #attention: AttentionOptions;
  /** Type 0 for every token: one text at a time. */
  #typeIds: Int32Array = new Int32Array(0);

  constructor(loader: WeightLoader, config: ModelConfig) {
    const { vocabSize, hiddenSize, numHeads, headDim, maxPositionEmbeddings } = config;
    const read = checkBert(config);
    const eps = read.positive("layer_norm_eps", 1e-12);
    const table = (name: string, rows: number): LinearWeight =>
      loader.linear({
        name,
        cols: hiddenSize,
        parts: [{ module: `embeddings.${name}`, rows }],
        inputForm: "f32",
      });
    this.vocabSize = vocabSize;
    this.hiddenSize = hiddenSize;
    this.kvShape = { numLayers: 1, numKvHeads: numHeads, headDim };
    this.#ops = loader.ops;
    this.#words = table("word_embeddings", vocabSize);
    this.#types = table("token_type_embeddings", read.optionalCount("type_vocab_size", 1 << 16) ?? 2);
    this.#positions = table("position_embeddings", maxPositionEmbeddings);
    this.#norm = loadNorm(loader, "embeddings.LayerNorm", hiddenSize, eps);
    this.#layers = Array.from({ length: config.numLayers }, (_, index) =>
      loadLayer(loader, config, `encoder.layer.${index}`, eps),
    );
    const shape = { numHeads, numKvHeads: numHeads, headDim };
    this.#attention = { ...shape, scale: 1 / Math.sqrt(headDim), isCausal: false };
  }

  forward(batch: RaggedBatch, cache: KvCache): Tensor {
    const ops = this.#ops;
    if (this.#typeIds.length < batch.numTokens) this.#typeIds = new Int32Array(2 * batch.numTokens);
    const x = ops.embed(this.#words);
    ops.addInto(x, ops.embed(this.#types, this.#typeIds));
    ops.addInto(x, ops.embed(this.#positions, batch.positions));
    ops.layerNorm(x, this.#norm);
    ops.releaseAfter(x);
    for (const layer of this.#layers) this.#runLayer(layer, x, cache);
    return x;
  }

  #runLayer(layer: EncoderLayer, x: Tensor, cache: KvCache): void {
    const ops = this.#ops;
    const qkv = this.#linear(layer.qkv, x);
    ops.ropeAndCache(qkv, null, cache, 0, this.#attention);
    const { weight, bias } = layer.attentionOutput;
    const mixed = ops.pagedAttention(qkv, cache, 0, this.#attention, weight.inputForm);
    ops.linear(mixed, weight, { ...bias, residual: x });
    ops.layerNorm(x, layer.attentionNorm);
    const inner = this.#linear(layer.intermediate, x);
    ops.gelu(inner);
    this.#linear(layer.output, inner, x);
    ops.layerNorm(x, layer.outputNorm);
    ops.releaseAfter(x);
  }

  #linear({ weight, bias }: BiasedLinear, x: Tensor, residual?: Tensor): Tensor {
    const input = inForm(this.#ops, x, weight.inputForm);
    return this.#ops.linear(input, weight, residual === undefined ? bias : { ...bias, residual });
  }
}

/** Throws `unsupported_format` for what other BERT models have. */
function checkBert(config: ModelConfig): ReturnType<typeof readConfig> {
  const read = readConfig(config);
  const positions = read.text("position_embedding_type") ?? "absolute";
  if (positions !== "absolute") read.refuse("position_embedding_type", "absolute positions");
  if (read.flag("is_decoder") === true) read.refuse("is_decoder", "is_decoder = false");
  if (config.hiddenAct === "gelu") return read;
  throw new MillraceError(
    "unsupported_format",
    `The model's activation function is ${JSON.stringify(config.hiddenAct)}; BERT encoders run here with "gelu". Use another model.`,
  );
}

function loadLayer(loader: WeightLoader, config: ModelConfig, prefix: string, eps: number): EncoderLayer {
  const { hiddenSize, intermediateSize } = config;
  const own = (name: string, cols: number, rows: number): BiasedLinear =>
    loadLinear(loader, { name: `${prefix}.${name}`, cols, parts: [{ module: `${prefix}.${name}`, rows }] });
  const qkv = ["query", "key", "value"].map((name) => ({
    module: `${prefix}.attention.self.${name}`,
    rows: hiddenSize,
  }));
  return {
    qkv: loadLinear(loader, { name: `${prefix}.attention.self.qkv`, cols: hiddenSize, parts: qkv }),
    attentionOutput: own("attention.output.dense", hiddenSize, hiddenSize),
    attentionNorm: loadNorm(loader, `${prefix}.attention.output.LayerNorm`, hiddenSize, eps),
    intermediate: own("intermediate.dense", hiddenSize, intermediateSize),
    output: own("output.dense", intermediateSize, hiddenSize),
    outputNorm: loadNorm(loader, `${prefix}.output.LayerNorm`, hiddenSize, eps),
  };
}

function loadLinear(loader: WeightLoader, spec: LinearSpec): BiasedLinear {
  return { weight: loader.linear(spec), bias: loader.bias(spec, true) };
}

function loadNorm(loader: WeightLoader, module: string, length: number, eps: number): LayerNorm {
  return {
    weight: loader.vector(`${module}.weight`, length),
    bias: loader.vector(`${module}.bias`, length),
    eps,
  };
}
