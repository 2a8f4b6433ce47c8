import { MillraceError } from "../base/errors.ts";
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
  const useWindow = json["use_sliding_window"] !== false;
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
    hiddenAct: read.text("hidden_act") ?? read.text("hidden_activation") ?? "silu",
    rope: parseRope(read, modelType),
    slidingWindow: useWindow ? (read.optionalCount("sliding_window", limits.positions) ?? null) : null,
    tieWordEmbeddings: read.flag("tie_word_embeddings") ?? tiedByDefault.has(modelType),
    attentionBias: read.flag("attention_bias") ?? false,
    mlpBias: read.flag("mlp_bias") ?? false,
    bosTokenId: read.tokenIds("bos_token_id")[0] ?? null,
    eosTokenIds: read.tokenIds("eos_token_id"),
    padTokenId: read.tokenIds("pad_token_id")[0] ?? null,
    dtype: read.text("dtype") ?? read.text("torch_dtype") ?? null,
    json,
  };
}

/** transformers 5 keeps one object, or one for each layer type; the full-attention one is the model's main one. */
function parseRope(read: ConfigReader, modelType: string): RopeConfig {
  const defaultTheta = modelType.startsWith("gemma3") || modelType.startsWith("mixtral") ? 1e6 : 10_000;
  const parameters = read.object("rope_parameters");
  const main =
    parameters === undefined ? undefined : (read.nested(parameters, "full_attention") ?? parameters);
  const scaling = main ?? read.object("rope_scaling");
  const theta =
    main?.["rope_theta"] === undefined
      ? read.positive("rope_theta", defaultTheta)
      : new ConfigReader(main, read.file).positive("rope_theta", defaultTheta);
  if (scaling === undefined) return { theta, scaling: null };
  const type = scaling["rope_type"] ?? scaling["type"] ?? "default";
  if (typeof type !== "string") {
    throw new MillraceError(
      "invalid_model_file",
      `${read.file} has a rope type of ${shown(type)}; it must be a string such as "llama3". Correct it or fetch the file again.`,
    );
  }
  if (type === "default") return { theta, scaling: null };
  return { theta, scaling: { ...scaling, rope_type: type } };
}

/** Checked access to the keys of config.json. */
class ConfigReader {
  readonly file: string;
  readonly #json: Readonly<Record<string, unknown>>;

  constructor(json: Readonly<Record<string, unknown>>, file: string) {
    this.file = file;
    this.#json = json;
  }

  fail(key: string, allowed: string): never {
    throw new MillraceError(
      "invalid_model_file",
      `${this.file} has ${key} = ${shown(this.#json[key])}; it must be ${allowed}. Correct it or fetch the file again.`,
    );
  }

  count(key: string, max: number): number {
    return this.optionalCount(key, max) ?? this.fail(key, `a whole number from 1 to ${max}`);
  }

  optionalCount(key: string, max: number): number | undefined {
    const value = this.#json[key] ?? undefined;
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= max) return value;
    return this.fail(key, `a whole number from 1 to ${max}`);
  }

  positive(key: string, fallback: number): number {
    const value = this.#json[key] ?? fallback;
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    return this.fail(key, "a number above 0");
  }

  flag(key: string): boolean | undefined {
    const value = this.#json[key] ?? undefined;
    if (value === undefined || typeof value === "boolean") return value;
    return this.fail(key, "true or false");
  }

  text(key: string): string | undefined {
    const value = this.#json[key] ?? undefined;
    if (value === undefined || typeof value === "string") return value;
    return this.fail(key, "a string");
  }

  object(key: string): Readonly<Record<string, unknown>> | undefined {
    const value = this.#json[key] ?? undefined;
    if (value === undefined || isJsonObject(value)) return value;
    return this.fail(key, "an object or null");
  }

  nested(
    object: Readonly<Record<string, unknown>>,
    key: string,
  ): Readonly<Record<string, unknown>> | undefined {
    return isJsonObject(object[key]) ? object[key] : undefined;
  }

  /** A token id, a list of them, or none. */
  tokenIds(key: string): number[] {
    const value = this.#json[key] ?? [];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    const isId = (id: unknown): id is number => Number.isInteger(id) && (id as number) >= 0;
    return list.every(isId) ? [...new Set(list)] : this.fail(key, "a token id, a list of token ids or null");
  }

  architecture(): string {
    const value = this.#json["architectures"];
    const first: unknown = Array.isArray(value) ? value[0] : undefined;
    return typeof first === "string"
      ? first
      : this.fail("architectures", 'a list such as ["LlamaForCausalLM"]');
  }
}

function shown(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
