/** A model's configuration, from config.json (transformers 4 or 5) or GGUF metadata, under one set of names. */
export interface ModelConfig {
  /** As in config.json `architectures[0]`, such as "LlamaForCausalLM"; GGUF names are mapped to it. */
  readonly architecture: string;
  /** transformers' `model_type`, such as "llama". */
  readonly modelType: string;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly maxPositionEmbeddings: number;
  readonly rmsNormEps: number;
  readonly hiddenAct: string;
  readonly rope: RopeConfig;
  readonly slidingWindow: number | null;
  readonly tieWordEmbeddings: boolean;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | null;
  /** The float type that the file names ("bfloat16" …), or null. */
  readonly dtype: string | null;
  /** config.json as read, or rebuilt from GGUF metadata so that it can be written beside converted weights. */
  readonly json: Readonly<Record<string, unknown>>;
}

export interface RopeConfig {
  readonly theta: number;
  /** Null for plain RoPE; else the type ("linear", "llama3", "yarn") with its parameters under transformers' names. */
  readonly scaling: Readonly<Record<string, unknown>> | null;
}
