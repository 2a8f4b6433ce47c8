"""Records tests/golden/recorded/shape-variants.json: small models of every family at unusual shapes.

Weights follow from names and shapes alone (see formula-weights.ts), so only configurations and some rows of the
results are kept. Needs torch, transformers 5 and safetensors; run from anywhere:

    python tests/golden/record-shape-variants.py
"""
import json
import pathlib
import tempfile

import numpy as np
import safetensors.torch
import torch
import transformers as T

OUT = pathlib.Path(__file__).parent / "recorded" / "shape-variants.json"
ROWS = (0, 20, 39)
PROMPT = [(7 * i * i + 3 * i + 11) % 97 for i in range(40)]
COMMON = dict(vocab_size=97, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=0)


def shape(hidden, inner, layers, heads, kv_heads, **more):
    sizes = dict(hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers)
    return {**sizes, "num_attention_heads": heads, "num_key_value_heads": kv_heads, **more}


ALTERNATING = ["sliding_attention", "full_attention"] * 2
TWO_ROPES = {
    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 20000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 3000.0},
}
HALF_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
SHORT, LONG = [1.0, 1.1, 1.3, 1.7, 2.0, 2.4], [1.0, 1.5, 2.5, 4.0, 6.0, 9.0]
LONG_ROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": SHORT, "long_factor": LONG}
GRANITE = dict(attention_multiplier=0.07, embedding_multiplier=3.5, residual_multiplier=0.37, logits_scaling=3.0)
VARIANTS = {
    "llama, one KV head, odd width, all biases": (T.LlamaConfig, T.LlamaForCausalLM, shape(60, 84, 2, 5, 1, head_dim=20, attention_bias=True, mlp_bias=True, rope_theta=5000.0)),
    "llama, full heads, width 10": (T.LlamaConfig, T.LlamaForCausalLM, shape(30, 50, 3, 3, 3, tie_word_embeddings=True)),
    "mistral, window 5, width 12": (T.MistralConfig, T.MistralForCausalLM, shape(40, 52, 2, 6, 2, head_dim=12, sliding_window=5)),
    "qwen2, window in the upper layers": (T.Qwen2Config, T.Qwen2ForCausalLM, shape(56, 72, 3, 4, 2, use_sliding_window=True, sliding_window=7, max_window_layers=1)),
    "qwen3, one KV head, biases": (T.Qwen3Config, T.Qwen3ForCausalLM, shape(48, 66, 2, 6, 1, head_dim=24, attention_bias=True)),
    "gemma, one KV head, width 22": (T.GemmaConfig, T.GemmaForCausalLM, shape(42, 60, 2, 3, 1, head_dim=22)),
    "gemma2, width 18, small caps": (T.Gemma2Config, T.Gemma2ForCausalLM, shape(42, 60, 4, 3, 1, head_dim=18, query_pre_attn_scalar=11, attn_logit_softcapping=3.0, final_logit_softcapping=5.0, sliding_window=6)),
    "gemma3, every second layer global, scaled": (T.Gemma3TextConfig, T.Gemma3ForCausalLM, shape(44, 60, 4, 4, 2, head_dim=14, query_pre_attn_scalar=9, sliding_window=6, layer_types=ALTERNATING, rope_parameters=TWO_ROPES)),
    "phi3, half rotation, window 9": (T.Phi3Config, T.Phi3ForCausalLM, shape(64, 76, 2, 4, 4, sliding_window=9, rope_parameters=HALF_ROPE)),
    "phi3, longrope beyond the original length": (T.Phi3Config, T.Phi3ForCausalLM, shape(48, 60, 2, 4, 2, original_max_position_embeddings=16, rope_parameters=LONG_ROPE)),
    "granite, tied, all biases": (T.GraniteConfig, T.GraniteForCausalLM, shape(48, 66, 2, 3, 1, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, **GRANITE)),
    "smollm3, every second layer without rotation": (T.SmolLM3Config, T.SmolLM3ForCausalLM, shape(40, 52, 4, 4, 1, no_rope_layer_interval=2, attention_bias=True)),
    "olmo2, one KV head, biases": (T.Olmo2Config, T.Olmo2ForCausalLM, shape(42, 60, 2, 3, 1, attention_bias=True)),
    "mixtral, window, three of five experts": (T.MixtralConfig, T.MixtralForCausalLM, shape(36, 44, 2, 3, 1, sliding_window=6, num_local_experts=5, num_experts_per_tok=3)),
    "qwen3-moe, a dense layer, weights not normalised": (T.Qwen3MoeConfig, T.Qwen3MoeForCausalLM, shape(36, 52, 3, 4, 2, moe_intermediate_size=28, head_dim=10, num_experts=7, num_experts_per_tok=3, norm_topk_prob=False, mlp_only_layers=[1])),
}


def uniform(count, seed):
    """Numbers in [-1, 1): a hash of index and seed."""
    x = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed * 40503 + 12345)) & np.uint64(0xFFFFFFFF)
    for _ in range(2):
        x ^= x >> np.uint64(16)
        x = (x * np.uint64(0x45D9F3B)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    return x.astype(np.float64) / 2**31 - 1


def weights(shapes, norm_base):
    tensors = {}
    for number, name in enumerate(sorted(shapes)):
        u = uniform(int(np.prod(shapes[name])), number)
        if name.lower().endswith("norm.weight"):
            u = norm_base + u / 8
        elif len(shapes[name]) == 1:
            u = u / 4
        else:
            u = u * 1.5 / np.sqrt(shapes[name][-1])
        tensors[name] = torch.from_numpy(u.astype(np.float32)).to(torch.bfloat16).reshape(shapes[name])
    return tensors


def record(kind, config, norm_base, run, **options):
    """Saves a model for names and configuration, gives it the formula's weights, and runs it in float32."""
    with tempfile.TemporaryDirectory() as folder:
        kind(config, **options).save_pretrained(folder)
        saved = safetensors.torch.load_file(f"{folder}/model.safetensors")
        shapes = {name: list(tensor.shape) for name, tensor in sorted(saved.items())}
        safetensors.torch.save_file(weights(shapes, norm_base), f"{folder}/model.safetensors", metadata={"format": "pt"})
        written = json.loads(pathlib.Path(folder, "config.json").read_text())
        model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **options).eval()
    with torch.no_grad():
        values = run(model(torch.tensor([PROMPT])))[0]
    rows = {str(row): [float(f"{x:.7g}") for x in values[row].tolist()] for row in ROWS}
    return {"config": written, "shapes": shapes, "spread": float(values.std(unbiased=False)), "rows": rows}


def main():
    models = []
    for name, (config, kind, sizes) in VARIANTS.items():
        base = 0.0 if name.startswith("gemma") else 1.0
        models.append({"name": name, **record(kind, config(**COMMON, **sizes), base, lambda out: out.logits)})
    bert = T.BertConfig(vocab_size=97, hidden_size=36, num_hidden_layers=3, num_attention_heads=3, intermediate_size=52, max_position_embeddings=64)
    encoder = record(T.BertModel, bert, 1.0, lambda out: out.last_hidden_state, add_pooling_layer=False)
    note = f"transformers {T.__version__}, float32, eager attention"
    OUT.write_text(json.dumps({"note": note, "prompt": PROMPT, "models": models, "bert": encoder}) + "\n")


main()
