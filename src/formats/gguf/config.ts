import { MillraceError } from "../../base/errors.ts";
import { type ArchitectureListener, type ModelConfig, parseModelConfig } from "../model-config.ts";
import type { GgufHeader } from "./header.ts";
import { GgufKeys } from "./metadata.ts";
import { scalingFromFactors } from "./rope-factors.ts";

interface Family {
  readonly architecture: string;
  readonly modelType: string;
  /** Rows of q and k stand in adjacent-pair order. */
  readonly isPermuted: boolean;
}

/** `general.architecture` values that are read. */
const families: Readonly<Partial<Record<string, Family>>> = {
  llama: { architecture: "LlamaForCausalLM", modelType: "llama", isPermuted: true },
  qwen2: { architecture: "Qwen2ForCausalLM", modelType: "qwen2", isPermuted: false },
  qwen3: { architecture: "Qwen3ForCausalLM", modelType: "qwen3", isPermuted: false },
};

/** What a GGUF file is: `config.json` holds the rebuilt config.json. */
export interface GgufModel {
  readonly config: ModelConfig;
  readonly isPermuted: boolean;
}

/**
 * The model's configuration from metadata and tensor shapes.
 * Throws `unsupported_architecture`, `unsupported_format` (split files, partial rotation), `invalid_model_file`, and
 * what `onArchitecture` throws.
 *
 * @param ropeFactors content of `rope_freqs.weight`, or null
 */
export function readGgufModel(
  header: GgufHeader,
  ropeFactors: Float32Array | null,
  onArchitecture: ArchitectureListener,
): GgufModel {
  const keys = new GgufKeys(header.metadata, header.path);
  refuseSplit(keys, header.path);
  const name = keys.text("general.architecture");
  const family = name === undefined || !Object.hasOwn(families, name) ? undefined : families[name];
  onArchitecture(family?.architecture ?? name ?? "none", header.path);
  const numExperts = keys.number(`${name}.expert_count`) ?? 0;
  if (family === undefined || numExperts > 0) {
    const seen = `${name ?? "none"}${numExperts > 0 ? ` with ${numExperts} experts` : ""}`;
    throw new MillraceError(
      "unsupported_architecture",
      `${header.path} has general.architecture ${seen}; GGUF files of ${Object.keys(families).join(", ")} (without experts) are read. Use the model's safetensors folder.`,
    );
  }
  const json = rebuildJson(header, new ArchitectureKeys(keys, name!, header.path), family, ropeFactors);
  return {
    config: parseModelConfig(json, { file: header.path, onArchitecture }),
    isPermuted: family.isPermuted,
  };
}

function refuseSplit(keys: GgufKeys, path: string): void {
  const count = keys.number("split.count") ?? 1;
  if (count <= 1) return;
  throw new MillraceError(
    "unsupported_format",
    `${path} is one of ${count} parts of a split GGUF; only whole files are read. Merge the parts with llama-gguf-split --merge.`,
  );
}

/** Keys under "<architecture>.". */
class ArchitectureKeys {
  readonly all: GgufKeys;
  readonly #prefix: string;
  readonly #path: string;

  constructor(all: GgufKeys, architecture: string, path: string) {
    this.all = all;
    this.#prefix = `${architecture}.`;
    this.#path = path;
  }

  optional(key: string): number | undefined {
    return this.all.uniformNumber(this.#prefix + key);
  }

  text(key: string): string | undefined {
    return this.all.text(this.#prefix + key);
  }

  required(key: string): number {
    const value = this.optional(key);
    if (value !== undefined) return value;
    throw new MillraceError(
      "invalid_model_file",
      `${this.#path} has no metadata ${this.#prefix}${key}, which the model needs. Fetch the file again or convert the model again.`,
    );
  }
}

function rebuildJson(
  header: GgufHeader,
  keys: ArchitectureKeys,
  family: Family,
  ropeFactors: Float32Array | null,
): Record<string, unknown> {
  const hiddenSize = keys.required("embedding_length");
  const numHeads = keys.required("attention.head_count");
  const headDim = keys.optional("attention.key_length") ?? hiddenSize / numHeads;
  const rotaryDim = keys.optional("rope.dimension_count") ?? headDim;
  const valueDim = keys.optional("attention.value_length") ?? headDim;
  if (rotaryDim !== headDim || valueDim !== headDim) {
    throw new MillraceError(
      "unsupported_format",
      `${header.path} has heads of width ${headDim} with ${rotaryDim} rotated and values of width ${valueDim}; only equal widths are read. Use the model's safetensors folder.`,
    );
  }
  const theta = exactDecimal(keys.optional("rope.freq_base") ?? 10_000);
  const scaling =
    ropeFactors === null ? metadataScaling(keys, header.path) : scalingFromFactors(ropeFactors, theta);
  const window = keys.optional("attention.sliding_window");
  const isWindowed = window !== undefined && family.modelType === "llama";
  const embedding = header.tensors.get("token_embd.weight");
  const special = (key: string): number | null => keys.all.number(`tokenizer.ggml.${key}_token_id`) ?? null;
  return {
    architectures: [isWindowed ? "MistralForCausalLM" : family.architecture],
    model_type: isWindowed ? "mistral" : family.modelType,
    hidden_size: hiddenSize,
    intermediate_size: keys.required("feed_forward_length"),
    num_hidden_layers: keys.required("block_count"),
    num_attention_heads: numHeads,
    num_key_value_heads: keys.optional("attention.head_count_kv") ?? numHeads,
    head_dim: headDim,
    vocab_size: embedding?.shape[0] ?? keys.required("vocab_size"),
    max_position_embeddings: keys.required("context_length"),
    rms_norm_eps: exactDecimal(keys.required("attention.layer_norm_rms_epsilon")),
    hidden_act: "silu",
    // Both spellings: readers before transformers 5 know only rope_theta and rope_scaling.
    rope_theta: theta,
    ...(scaling === null ? {} : { rope_scaling: scaling }),
    rope_parameters: { rope_type: "default", ...scaling, rope_theta: theta },
    ...(window === undefined ? {} : { sliding_window: window }),
    tie_word_embeddings: !header.tensors.has("output.weight"),
    attention_bias: header.tensors.has("blk.0.attn_q.bias"),
    mlp_bias: header.tensors.has("blk.0.ffn_up.bias"),
    bos_token_id: special("bos"),
    eos_token_id: special("eos"),
    pad_token_id: special("padding"),
    dtype: floatTypeOf(embedding?.type.name),
  };
}

function metadataScaling(keys: ArchitectureKeys, path: string): Readonly<Record<string, unknown>> | null {
  const type = keys.text("rope.scaling.type") ?? "none";
  if (type === "none") return null;
  const factor = keys.required("rope.scaling.factor");
  const original = keys.optional("rope.scaling.original_context_length");
  if (type === "linear") return { rope_type: "linear", factor };
  if (type === "yarn" && original !== undefined) {
    return { rope_type: "yarn", factor, original_max_position_embeddings: original };
  }
  throw new MillraceError(
    "unsupported_format",
    `${path} has RoPE scaling ${type}; none, linear, yarn with its original context length, and Llama 3's divisors are read. Use the model's safetensors folder.`,
  );
}

/** An f32 from metadata as the shortest decimal of the same f32: 1e-5 instead of 0.000009999999747378752. */
function exactDecimal(value: number): number {
  const short = Number(value.toPrecision(7));
  return Math.fround(short) === Math.fround(value) ? short : value;
}

function floatTypeOf(type: string | undefined): string {
  if (type === "F32") return "float32";
  return type === "F16" ? "float16" : "bfloat16";
}
