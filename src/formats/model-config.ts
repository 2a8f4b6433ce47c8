import { MillraceError } from "../base/errors.ts";
import { ConfigReader, shown } from "./config-reader.ts";
import { isJsonObject } from "./json-file.ts";

/** Called with a model's architecture and the file that names it before anything else of it is read; may refuse it. */
export type ArchitectureListener = (architecture: string, file: string) => void;

export interface ConfigOrigin {
  /** Named in errors. */
  readonly file: string;
  readonly onArchitecture: ArchitectureListener;
}

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
  /** Mixture of experts in place of the feed-forward block, or null. */
  readonly experts: ExpertConfig | null;
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | null;
  /** The float type that the file names ("bfloat16" …), or null. */
  readonly dtype: string | null;
  /** config.json as read, or rebuilt from GGUF metadata so that it can be written beside converted weights. */
  readonly json: Readonly<Record<string, unknown>>;
}

export interface ExpertConfig {
  readonly numExperts: number;
  /** Experts that each token goes to. */
  readonly numPerToken: number;
  readonly intermediateSize: number;
}

export interface RopeConfig {
  readonly theta: number;
  /** Share of a head's columns that are rotated, the first ones; 1 for all. */
  readonly partialRotaryFactor: number;
  /** Null for plain RoPE; else the type ("linear", "llama3", "yarn") with its parameters under transformers' names. */
  readonly scaling: Readonly<Record<string, unknown>> | null;
}

/** Above these a number is damage or malice, not a model: published ones stay below 2^19, 2^8 and 2^24. */
const limits = { size: 1 << 24, layers: 1 << 12, positions: 2 ** 31 } as const;

/** `max_position_embeddings` of transformers' LlamaConfig where config.json has none. */
const defaultPositions = 2048;

/** Families whose configuration class ties the head to the embedding unless told otherwise. */
const tiedByDefault: ReadonlySet<string> = new Set([
  "gemma",
  "gemma2",
  "gemma3",
  "gemma3_text",
  "smollm3",
  "cohere",
]);

/** Families that name a window and use it only where `use_sliding_window` says so. */
const windowByFlag: ReadonlySet<string> = new Set(["qwen2", "qwen3", "qwen3_moe", "smollm3"]);

/**
 * Reads config.json of transformers 4 (`rope_theta`, `rope_scaling`, `torch_dtype`) or 5 (`rope_parameters`,
 * `dtype`) with transformers' defaults. The architecture comes first: of one that cannot be run, the rest may mean
 * something else. Throws `invalid_model_file` naming the key that is missing or absurd, and what `onArchitecture` throws.
 */
export function parseModelConfig(
  json: Readonly<Record<string, unknown>>,
  { file, onArchitecture }: ConfigOrigin,
): ModelConfig {
  const read = new ConfigReader(json, file);
  const architecture = read.architecture();
  onArchitecture(architecture, file);
  const hiddenSize = read.count("hidden_size", limits.size);
  const numHeads = read.count("num_attention_heads", limits.size);
  const numKvHeads = read.optionalCount("num_key_value_heads", limits.size) ?? numHeads;
  if (numHeads % numKvHeads !== 0) {
    read.fail("num_key_value_heads", `a divisor of num_attention_heads (${numHeads})`);
  }
  const headDim = read.optionalCount("head_dim", limits.size) ?? hiddenSize / numHeads;
  if (!Number.isInteger(headDim)) read.fail("hidden_size", `a multiple of num_attention_heads (${numHeads})`);
  const modelType = read.text("model_type") ?? "";
  const useWindow = windowByFlag.has(modelType)
    ? (read.flag("use_sliding_window") ?? false)
    : json["use_sliding_window"] !== false;
  return {
    architecture,
    modelType,
    hiddenSize,
    intermediateSize: read.count("intermediate_size", limits.size),
    numLayers: read.count("num_hidden_layers", limits.layers),
    numHeads,
    numKvHeads,
    headDim,
    vocabSize: read.count("vocab_size", limits.size),
    maxPositionEmbeddings:
      read.optionalCount("max_position_embeddings", limits.positions) ?? defaultPositions,
    rmsNormEps: read.positive("rms_norm_eps", 1e-6),
    hiddenAct: parseActivation(read, modelType),
    rope: parseRope(read, modelType),
    slidingWindow: useWindow ? (read.optionalCount("sliding_window", limits.positions) ?? null) : null,
    tieWordEmbeddings: read.flag("tie_word_embeddings") ?? tiedByDefault.has(modelType),
    attentionBias: read.flag("attention_bias") ?? false,
    mlpBias: read.flag("mlp_bias") ?? false,
    experts: parseExperts(read),
    bosTokenId: read.tokenIds("bos_token_id")[0] ?? null,
    eosTokenIds: read.tokenIds("eos_token_id"),
    padTokenId: read.tokenIds("pad_token_id")[0] ?? null,
    dtype: read.text("dtype") ?? read.text("torch_dtype") ?? null,
    json,
  };
}

/** Gemma's first configurations name an activation that its code does not use. */
function parseActivation(read: ConfigReader, modelType: string): string {
  if (modelType.startsWith("gemma")) return read.text("hidden_activation") ?? "gelu_pytorch_tanh";
  return read.text("hidden_act") ?? read.text("hidden_activation") ?? "silu";
}

/** transformers calls the number of experts `num_experts`, `num_local_experts` or both. */
function parseExperts(read: ConfigReader): ExpertConfig | null {
  const numExperts =
    read.optionalCount("num_local_experts", limits.size) ?? read.optionalCount("num_experts", limits.size);
  if (numExperts === undefined) return null;
  return {
    numExperts,
    numPerToken: read.count("num_experts_per_tok", numExperts),
    intermediateSize:
      read.optionalCount("moe_intermediate_size", limits.size) ??
      read.count("intermediate_size", limits.size),
  };
}

/** transformers 5 keeps one object, or one for each layer type; the full-attention one is the model's main one. */
function parseRope(read: ConfigReader, modelType: string): RopeConfig {
  const defaultTheta = modelType.startsWith("gemma3") || modelType.startsWith("mixtral") ? 1e6 : 10_000;
  const parameters = read.object("rope_parameters");
  const main = parameters === undefined ? undefined : (nested(parameters, "full_attention") ?? parameters);
  const scaling = main ?? read.object("rope_scaling");
  const theta =
    main?.["rope_theta"] === undefined
      ? read.positive("rope_theta", defaultTheta)
      : new ConfigReader(main, read.file).positive("rope_theta", defaultTheta);
  const partialRotaryFactor =
    (main && new ConfigReader(main, read.file).optionalPositive("partial_rotary_factor")) ??
    read.positive("partial_rotary_factor", 1);
  if (partialRotaryFactor > 1) read.fail("partial_rotary_factor", "a number above 0 and at most 1");
  const plain: RopeConfig = { theta, partialRotaryFactor, scaling: null };
  if (scaling === undefined) return plain;
  const type = scaling["rope_type"] ?? scaling["type"] ?? "default";
  if (typeof type !== "string") {
    throw new MillraceError(
      "invalid_model_file",
      `${read.file} has a rope type of ${shown(type)}; it must be a string such as "llama3". Correct it or fetch the file again.`,
    );
  }
  if (type === "default") return plain;
  // Phi-3 keeps it beside the scaling, where transformers gives it precedence.
  const original = read.optionalPositive("original_max_position_embeddings");
  const context = original === undefined ? {} : { original_max_position_embeddings: original };
  return { ...plain, scaling: { ...scaling, rope_type: type, ...context } };
}

function nested(
  object: Readonly<Record<string, unknown>>,
  key: string,
): Readonly<Record<string, unknown>> | undefined {
  return isJsonObject(object[key]) ? object[key] : undefined;
}
