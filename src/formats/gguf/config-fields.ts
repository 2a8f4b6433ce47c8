import { MillraceError } from "../../base/errors.ts";
import { isJsonObject } from "../json-file.ts";
import type { ModelConfig } from "../model-config.ts";
import { f32, type GgufFields, type GgufFieldValue, text, u32 } from "./fields.ts";
import { llama3Factors } from "./rope-factors.ts";

/** Metadata of a configuration, and the divisors of its rotation frequencies where they travel as a tensor. */
export interface ConfigFields {
  readonly fields: GgufFields;
  /** `rope_freqs.weight`, or null. */
  readonly ropeFactors: Float32Array | null;
}

/**
 * A model's configuration as llama.cpp's converter writes it (the reverse of `readGgufModel`).
 * Throws `unsupported_format` for a RoPE scaling that the format has no keys for.
 *
 * @param architecture `general.architecture`
 */
export function configFields(config: ModelConfig, architecture: string, file: string): ConfigFields {
  const { rope, headDim, experts } = config;
  const fields: (readonly [string, GgufFieldValue])[] = [
    ["block_count", u32(config.numLayers)],
    ["context_length", u32(config.maxPositionEmbeddings)],
    ["embedding_length", u32(config.hiddenSize)],
    ["feed_forward_length", u32(config.intermediateSize)],
    ["attention.head_count", u32(config.numHeads)],
    ["attention.head_count_kv", u32(config.numKvHeads)],
    ["attention.layer_norm_rms_epsilon", f32(config.rmsNormEps)],
    ["attention.key_length", u32(headDim)],
    ["attention.value_length", u32(headDim)],
    ["vocab_size", u32(config.vocabSize)],
    ["rope.freq_base", f32(rope.theta)],
    ["rope.dimension_count", u32(Math.trunc(headDim * rope.partialRotaryFactor))],
    ...scalingFields(config, file),
  ];
  if (config.slidingWindow !== null) fields.push(["attention.sliding_window", u32(config.slidingWindow)]);
  if (experts !== null) {
    fields.push(["expert_count", u32(experts.numExperts)], ["expert_used_count", u32(experts.numPerToken)]);
    if (architecture !== "llama") fields.push(["expert_feed_forward_length", u32(experts.intermediateSize)]);
  }
  fields.push(...ownFields(config, architecture));
  return {
    fields: [
      ["general.architecture", text(architecture)],
      ...fields.map(([key, value]) => [`${architecture}.${key}`, value] as const),
    ],
    ropeFactors: factorsOf(config, file),
  };
}

/** What one family has beyond the common keys: config.json's name, GGUF's, and what counts where it is absent. */
const ownKeys: Readonly<
  Record<string, readonly (readonly [json: string, gguf: string, standard: number | null])[]>
> = {
  gemma2: [
    ["attn_logit_softcapping", "attn_logit_softcapping", null],
    ["final_logit_softcapping", "final_logit_softcapping", null],
  ],
  gemma3: [
    ["attn_logit_softcapping", "attn_logit_softcapping", null],
    ["final_logit_softcapping", "final_logit_softcapping", null],
  ],
  granite: [
    ["attention_multiplier", "attention.scale", 1],
    ["embedding_multiplier", "embedding_scale", 1],
    ["residual_multiplier", "residual_scale", 1],
    ["logits_scaling", "logit_scale", 1],
  ],
};

function ownFields({ json }: ModelConfig, architecture: string): (readonly [string, GgufFieldValue])[] {
  const own = (ownKeys[architecture] ?? []).flatMap(([name, key, standard]) => {
    const value = json[name] ?? standard;
    return typeof value === "number" ? [[key, f32(value)] as const] : [];
  });
  return architecture === "gemma3" ? [...own, ["rope.freq_base_swa", f32(localTheta(json))]] : own;
}

/** Base of the rotation in Gemma 3's windowed layers, in transformers 5's or 4's place. */
function localTheta(json: ModelConfig["json"]): number {
  const parameters = json["rope_parameters"];
  const local = isJsonObject(parameters) ? parameters["sliding_attention"] : undefined;
  const theta = (isJsonObject(local) ? local["rope_theta"] : undefined) ?? json["rope_local_base_freq"];
  return typeof theta === "number" ? theta : 10_000;
}

function scalingFields({ rope }: ModelConfig, file: string): (readonly [string, GgufFieldValue])[] {
  const { scaling } = rope;
  const type = scaling?.["rope_type"];
  if (typeof type !== "string" || type === "llama3" || type === "frequency-factors") return [];
  const fields: (readonly [string, GgufFieldValue])[] = [["rope.scaling.type", text(type)]];
  const add = (name: string, key: string, make: (value: number) => GgufFieldValue): void => {
    const value = scaling?.[name];
    if (typeof value === "number") fields.push([`rope.scaling.${key}`, make(value)]);
  };
  if (type !== "linear" && type !== "yarn") throw unwritableScaling(file, type);
  add("factor", "factor", f32);
  if (type === "linear") return fields;
  add("original_max_position_embeddings", "original_context_length", u32);
  add("beta_fast", "yarn_beta_fast", f32);
  add("beta_slow", "yarn_beta_slow", f32);
  return fields;
}

/** Divisors of the `rotaryDim / 2` frequencies, which llama.cpp keeps instead of Llama 3's parameters. */
function factorsOf({ rope, headDim }: ModelConfig, file: string): Float32Array | null {
  const { scaling, theta, partialRotaryFactor } = rope;
  if (scaling?.["rope_type"] === "frequency-factors")
    return Float32Array.from(scaling["factors"] as number[]);
  if (scaling?.["rope_type"] !== "llama3") return null;
  const number = (key: string): number => {
    const value = scaling[key];
    if (typeof value === "number" && value > 0) return value;
    throw new MillraceError(
      "invalid_model_file",
      `${file} has RoPE scaling llama3 without a number ${key}, which it needs. Correct it or fetch the file again.`,
    );
  };
  return Float32Array.from(
    llama3Factors(Math.trunc(headDim * partialRotaryFactor) / 2, theta, {
      factor: number("factor"),
      low_freq_factor: number("low_freq_factor"),
      high_freq_factor: number("high_freq_factor"),
      original_max_position_embeddings: number("original_max_position_embeddings"),
    }),
  );
}

function unwritableScaling(file: string, type: string): MillraceError {
  return new MillraceError(
    "unsupported_format",
    `${file} has RoPE scaling ${type}; GGUF files are written with none, linear, yarn or llama3 scaling. Use the model as it is.`,
  );
}
