# What gguf-py reads of a GGUF file of a llama: for each matrix under its Hugging Face name the checksum of its values in f32,
# both zeros counted as one, that manifests hold, as JSON on standard output.
#
#   python gguf_values.py FILE
import hashlib
import json
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

names = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
reader = GGUFReader(sys.argv[1])


def number(key):
    return int(reader.fields[f"llama.{key}"].contents())


def module_of(name):
    if name == "token_embd.weight":
        return "model.embed_tokens"
    if name == "output.weight":
        return "lm_head"
    _, layer, kind, _ = name.split(".")
    return f"model.layers.{layer}.{names[kind]}"


def in_halves(values, heads):
    """Rows of a head from adjacent pairs to two halves."""
    rows, cols = values.shape
    return values.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def checksum(values):
    """SHA-256 over the sums of each row's words w and of (i + 1) w, modulo 2^64 and little-endian."""
    words = (values + np.float32(0)).view(np.uint32).astype(np.uint64)
    places = np.arange(1, words.shape[1] + 1, dtype=np.uint64)
    sums = np.stack([words.sum(axis=1), (words * places).sum(axis=1)], axis=1)
    return hashlib.sha256(sums.astype("<u8").tobytes()).hexdigest()


heads = {"attn_q": number("attention.head_count"), "attn_k": number("attention.head_count_kv")}
found = {}
for tensor in reader.tensors:
    if len(tensor.shape) != 2:
        continue
    values = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    kind = tensor.name.split(".")[2] if tensor.name.startswith("blk.") else ""
    if kind in heads:
        values = in_halves(values, heads[kind])
    found[module_of(tensor.name)] = checksum(values)
print(json.dumps(found))
