/** Hugging Face module names inside a layer and their GGUF counterparts. */
const layerModules: Readonly<Partial<Record<string, string>>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

const modelModules: Readonly<Partial<Record<string, string>>> = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
};

/**
 * "model.layers.3.self_attn.q_proj" → "blk.3.attn_q"; a ".weight" or ".bias" ending stays. Undefined where GGUF
 * has no such module.
 */
export function ggufName(name: string): string | undefined {
  const [, module = "", ending = ""] = /^(.*?)(\.weight|\.bias)?$/.exec(name) ?? [];
  const layer = /^model\.layers\.(\d+)\.(.+)$/.exec(module);
  const mapped = layer === null ? modelModules[module] : layerModules[layer[2]!];
  if (mapped === undefined) return undefined;
  return `${layer === null ? "" : `blk.${layer[1]}.`}${mapped}${ending}`;
}
