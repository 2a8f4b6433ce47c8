import { MillraceError } from "../../base/errors.ts";
import { type ArchitectureListener, type ModelConfig, parseModelConfig } from "../model-config.ts";
import { findGgufFamily, type GgufFamily, ggufArchitectures } from "./families.ts";
import { ArchitectureKeys, exactDecimal, type GgufShape } from "./family-keys.ts";
import type { GgufHeader } from "./header.ts";
import { GgufKeys } from "./metadata.ts";
import { scalingFromFactors } from "./rope-factors.ts";

/** What a GGUF file is: `config.json` holds the rebuilt config.json. */
export interface GgufModel {
  readonly config: ModelConfig;
  readonly family: GgufFamily;
}

/**
 * The model's configuration from metadata and tensor shapes.
 * Throws `unsupported_architecture`, `unsupported_format` (partial rotation), `invalid_model_file`, and
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
  const name = keys.text("general.architecture");
  const numExperts = keys.number(`${name}.expert_count`) ?? 0;
  const family = findGgufFamily(name, numExperts);
  onArchitecture(family?.architecture ?? name ?? "none", header.path);
  if (family === undefined) {
    const seen = `${name ?? "none"}${numExperts > 0 ? ` with ${numExperts} experts` : ""}`;
    throw new MillraceError(
      "unsupported_architecture",
      `${header.path} has general.architecture ${seen}; GGUF files of ${ggufArchitectures.join(", ")} are read. Use the model's safetensors folder.`,
    );
  }
  const json = rebuildJson(header, new ArchitectureKeys(keys, name!, header.path), family, ropeFactors);
  return { config: parseModelConfig(json, { file: header.path, onArchitecture }), family };
}

function rebuildJson(
  header: GgufHeader,
  keys: ArchitectureKeys,
  family: GgufFamily,
  ropeFactors: Float32Array | null,
): Record<string, unknown> {
  const shape = readShape(keys, family);
  const theta = exactDecimal(keys.optional("rope.freq_base") ?? 10_000);
  const scaling = ropeFactors === null ? metadataScaling(keys) : scalingFromFactors(ropeFactors, theta);
  if (header.tensors.has("rope_factors_long.weight")) {
    keys.refuse("RoPE scaling of the kind longrope", "a model with none, linear, yarn or llama3 scaling");
  }
  const rope = { rope_type: "default", ...scaling, rope_theta: theta };
  const window = keys.optional("attention.sliding_window") || undefined;
  const isWindowed = window !== undefined && family.modelType === "llama";
  const embedding = header.tensors.get("token_embd.weight");
  const special = (key: string): number | null => keys.all.number(`tokenizer.ggml.${key}_token_id`) ?? null;
  const ends = new Set(["eos", "eot", "eom"].flatMap((key) => special(key) ?? []));
  return {
    architectures: [isWindowed ? "MistralForCausalLM" : family.architecture],
    model_type: isWindowed ? "mistral" : family.modelType,
    hidden_size: shape.hiddenSize,
    intermediate_size: keys.required("feed_forward_length"),
    num_hidden_layers: shape.numLayers,
    num_attention_heads: shape.numHeads,
    num_key_value_heads: keys.optional("attention.head_count_kv") ?? shape.numHeads,
    head_dim: shape.headDim,
    vocab_size: embedding?.shape[0] ?? keys.required("vocab_size"),
    max_position_embeddings: keys.required("context_length"),
    rms_norm_eps: exactDecimal(keys.required("attention.layer_norm_rms_epsilon")),
    hidden_act: "silu",
    // Both spellings: readers before transformers 5 know only rope_theta and rope_scaling.
    rope_theta: theta,
    ...(scaling === null ? {} : { rope_scaling: scaling }),
    rope_parameters: rope,
    ...(window === undefined ? {} : { sliding_window: window }),
    tie_word_embeddings: !header.tensors.has("output.weight"),
    attention_bias: header.tensors.has("blk.0.attn_q.bias"),
    mlp_bias: header.tensors.has("blk.0.ffn_up.bias"),
    bos_token_id: special("bos"),
    eos_token_id: ends.size > 1 ? [...ends] : special("eos"),
    pad_token_id: special("padding"),
    dtype: floatTypeOf(embedding?.type.name),
    ...family.ownKeys({
      shape,
      rope,
      optional: (key) => keys.optional(key),
      required: (key) => keys.required(key),
      refuse: (seen, supported) => keys.refuse(seen, supported),
    }),
  };
}

function readShape(keys: ArchitectureKeys, family: GgufFamily): GgufShape {
  const hiddenSize = keys.required("embedding_length");
  const numHeads = keys.required("attention.head_count");
  const headDim = keys.optional("attention.key_length") ?? hiddenSize / numHeads;
  const rotaryDim = keys.optional("rope.dimension_count") ?? headDim;
  const valueDim = keys.optional("attention.value_length") ?? headDim;
  const isPartial = rotaryDim !== headDim && (family.modelType !== "phi3" || rotaryDim > headDim);
  if (isPartial || valueDim !== headDim) {
    keys.refuse(
      `heads of width ${headDim} with ${rotaryDim} rotated and values of width ${valueDim}`,
      "a model with equal widths",
    );
  }
  return { numLayers: keys.required("block_count"), hiddenSize, numHeads, headDim, rotaryDim };
}

function metadataScaling(keys: ArchitectureKeys): Readonly<Record<string, unknown>> | null {
  const type = keys.text("rope.scaling.type") ?? "none";
  if (type === "none") return null;
  const factor = keys.required("rope.scaling.factor");
  const original = keys.optional("rope.scaling.original_context_length");
  if (type === "linear") return { rope_type: "linear", factor };
  if (type === "yarn" && original !== undefined) {
    const fast = keys.optional("rope.scaling.yarn_beta_fast");
    const slow = keys.optional("rope.scaling.yarn_beta_slow");
    return {
      rope_type: "yarn",
      factor,
      original_max_position_embeddings: original,
      ...(fast === undefined ? {} : { beta_fast: fast }),
      ...(slow === undefined ? {} : { beta_slow: slow }),
    };
  }
  return keys.refuse(
    `RoPE scaling ${type}`,
    "none, linear, yarn with its original context length, or Llama 3's divisors",
  );
}

function floatTypeOf(type: string | undefined): string {
  if (type === "F32") return "float32";
  return type === "F16" ? "float16" : "bfloat16";
}
