import { exactDecimal, type GgufFamilyKeys } from "./family-keys.ts";

/** Names inside a layer, Hugging Face → GGUF; `*` stands for the number of an expert whose matrices are stacked. */
export type LayerModules = Readonly<Record<string, string>>;

/** How llama.cpp's converter writes a family. */
export interface GgufFamily {
  readonly architecture: string;
  readonly modelType: string;
  /** Rows of q and k stand in adjacent-pair order. */
  readonly isPermuted: boolean;
  /** What the converter added to the weights of every norm. */
  readonly normOffset: number;
  readonly modules: LayerModules;
  /** Keys of config.json that other families do not have, from metadata and from what llama.cpp takes for granted. */
  readonly ownKeys: (keys: GgufFamilyKeys) => Readonly<Record<string, unknown>>;
}

const attention: LayerModules = {
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
};
const mlp: LayerModules = {
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};
const preNorms: LayerModules = { input_layernorm: "attn_norm", post_attention_layernorm: "ffn_norm" };
const postNorms: LayerModules = {
  post_attention_layernorm: "post_attention_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};

const llama: GgufFamily = {
  architecture: "LlamaForCausalLM",
  modelType: "llama",
  isPermuted: true,
  normOffset: 0,
  modules: { ...preNorms, ...attention, ...mlp },
  ownKeys: () => ({}),
};

const mixtral: GgufFamily = {
  ...llama,
  architecture: "MixtralForCausalLM",
  modelType: "mixtral",
  modules: {
    ...preNorms,
    ...attention,
    "block_sparse_moe.gate": "ffn_gate_inp",
    "block_sparse_moe.experts.*.w1": "ffn_gate_exps",
    "block_sparse_moe.experts.*.w3": "ffn_up_exps",
    "block_sparse_moe.experts.*.w2": "ffn_down_exps",
  },
  ownKeys: (keys) => ({
    num_local_experts: keys.required("expert_count"),
    num_experts_per_tok: keys.required("expert_used_count"),
  }),
};

/** Gemma's largest models scale scores by the width of all heads, the others by that of one (llama.cpp, model loading). */
function gemmaKeys(keys: GgufFamilyKeys, largestNumLayers: number): Readonly<Record<string, unknown>> {
  const { numLayers, hiddenSize, numHeads, headDim } = keys.shape;
  const finalCap = keys.optional("final_logit_softcapping") ?? null;
  return {
    hidden_act: "gelu_pytorch_tanh",
    hidden_activation: "gelu_pytorch_tanh",
    query_pre_attn_scalar: numLayers === largestNumLayers ? hiddenSize / numHeads : headDim,
    attn_logit_softcapping: keys.optional("attn_logit_softcapping") ?? null,
    final_logit_softcapping: finalCap,
  };
}

const gemma: Omit<GgufFamily, "architecture" | "modelType" | "ownKeys"> = {
  isPermuted: false,
  normOffset: 1,
  modules: {
    input_layernorm: "attn_norm",
    pre_feedforward_layernorm: "ffn_norm",
    ...postNorms,
    ...attention,
    ...mlp,
  },
};

/** By `general.architecture`. */
const families: Readonly<Partial<Record<string, GgufFamily>>> = {
  llama,
  qwen2: { ...llama, architecture: "Qwen2ForCausalLM", modelType: "qwen2", isPermuted: false },
  qwen3: { ...llama, architecture: "Qwen3ForCausalLM", modelType: "qwen3", isPermuted: false },
  qwen3moe: {
    ...llama,
    architecture: "Qwen3MoeForCausalLM",
    modelType: "qwen3_moe",
    isPermuted: false,
    modules: {
      ...llama.modules,
      "mlp.gate": "ffn_gate_inp",
      "mlp.experts.*.gate_proj": "ffn_gate_exps",
      "mlp.experts.*.up_proj": "ffn_up_exps",
      "mlp.experts.*.down_proj": "ffn_down_exps",
    },
    ownKeys: (keys) => ({
      num_experts: keys.required("expert_count"),
      num_experts_per_tok: keys.required("expert_used_count"),
      moe_intermediate_size: keys.required("expert_feed_forward_length"),
      norm_topk_prob: true,
    }),
  },
  gemma: {
    ...gemma,
    architecture: "GemmaForCausalLM",
    modelType: "gemma",
    modules: llama.modules,
    ownKeys: () => ({ hidden_act: "gelu_pytorch_tanh", hidden_activation: "gelu_pytorch_tanh" }),
  },
  gemma2: {
    ...gemma,
    architecture: "Gemma2ForCausalLM",
    modelType: "gemma2",
    ownKeys: (keys) => gemmaKeys(keys, 46),
  },
  gemma3: {
    ...gemma,
    architecture: "Gemma3ForCausalLM",
    modelType: "gemma3_text",
    ownKeys: (keys) => {
      const theta = exactDecimal(keys.optional("rope.freq_base_swa") ?? 10_000);
      const local = { rope_type: "default", rope_theta: theta };
      return {
        ...gemmaKeys(keys, 62),
        sliding_window_pattern: 6,
        rope_local_base_freq: theta,
        rope_parameters: { full_attention: keys.rope, sliding_attention: local },
      };
    },
  },
  phi3: {
    ...llama,
    architecture: "Phi3ForCausalLM",
    modelType: "phi3",
    isPermuted: false,
    modules: {
      ...preNorms,
      "self_attn.qkv_proj": "attn_qkv",
      "self_attn.o_proj": "attn_output",
      "mlp.gate_up_proj": "ffn_up",
      "mlp.down_proj": "ffn_down",
    },
    ownKeys: ({ shape }) => ({ partial_rotary_factor: shape.rotaryDim / shape.headDim }),
  },
  granite: {
    ...llama,
    architecture: "GraniteForCausalLM",
    modelType: "granite",
    ownKeys: (keys) => ({
      attention_multiplier: exactDecimal(keys.required("attention.scale")),
      embedding_multiplier: exactDecimal(keys.optional("embedding_scale") ?? 1),
      residual_multiplier: exactDecimal(keys.optional("residual_scale") ?? 1),
      logits_scaling: exactDecimal(keys.optional("logit_scale") ?? 1),
    }),
  },
  smollm3: {
    ...llama,
    architecture: "SmolLM3ForCausalLM",
    modelType: "smollm3",
    ownKeys: () => ({ no_rope_layer_interval: 4 }),
  },
  olmo2: {
    ...llama,
    architecture: "Olmo2ForCausalLM",
    modelType: "olmo2",
    isPermuted: false,
    modules: { ...postNorms, ...attention, ...mlp },
    ownKeys: (keys) => {
      if (keys.optional("attention.sliding_window") === undefined) return {};
      return keys.refuse("a sliding window (OLMo 3)", "OLMo 2 without one");
    },
  },
};

export const ggufArchitectures: readonly string[] = Object.keys(families);

/** The family of a file, or undefined; Mixtral bears the name of Llama and is told by its experts. */
export function findGgufFamily(architecture: string | undefined, numExperts: number): GgufFamily | undefined {
  if (architecture === undefined || !Object.hasOwn(families, architecture)) return undefined;
  const family = families[architecture]!;
  if (architecture === "llama" && numExperts > 0) return mixtral;
  const hasExperts = Object.values(family.modules).includes("ffn_gate_inp");
  return hasExperts === numExperts > 0 ? family : undefined;
}

/** `general.architecture` and family of a model by its name in config.json, or undefined. */
export function findGgufWriting(
  architecture: string,
): { readonly name: string; readonly family: GgufFamily } | undefined {
  const wanted = architecture === "MistralForCausalLM" ? "LlamaForCausalLM" : architecture;
  if (wanted === mixtral.architecture) return { name: "llama", family: mixtral };
  const found = Object.entries(families).find(([, family]) => family?.architecture === wanted);
  return found === undefined ? undefined : { name: found[0], family: found[1]! };
}
