import { createHash } from "node:crypto";
import type { GgufTensorEntry } from "../gguf-builder.ts";
import { readTensors, type StoredTensor } from "./golden-files.ts";

/** ggml's numbers of tensor types. */
const [f32, bf16] = [0, 30];

/** Names inside a layer as llama.cpp's converter changes them, the first rule that fits. */
const rules: readonly (readonly [RegExp, string])[] = [
  [/^self_attn\.(q|k|v|qkv)_proj/, "attn_$1"],
  [/^self_attn\.o_proj/, "attn_output"],
  [/^self_attn\.([qk])_norm/, "attn_$1_norm"],
  [/^mlp\.(gate|up|down)_proj/, "ffn_$1"],
  [/^mlp\.gate_up_proj/, "ffn_up"],
  [/^(mlp|block_sparse_moe)\.gate\./, "ffn_gate_inp."],
  [/^mlp\.experts\.\d+\.(gate|up|down)_proj/, "ffn_$1_exps"],
  [/^block_sparse_moe\.experts\.\d+\.w1/, "ffn_gate_exps"],
  [/^block_sparse_moe\.experts\.\d+\.w2/, "ffn_down_exps"],
  [/^block_sparse_moe\.experts\.\d+\.w3/, "ffn_up_exps"],
  [/^input_layernorm/, "attn_norm"],
  [/^pre_feedforward_layernorm/, "ffn_norm"],
  [/^post_feedforward_layernorm/, "post_ffw_norm"],
];

/** Families whose converter orders the rows of q and k in adjacent pairs. */
const permuted = new Set(["llama", "granite", "smollm3"]);
/** Families with norms around or after both blocks, where `post_attention_layernorm` keeps its name. */
const postNormed = new Set(["gemma2", "gemma3", "olmo2"]);

export interface TinyShape {
  /** `general.architecture` of the GGUF file. */
  readonly architecture: string;
  readonly numHeads: number;
  readonly numKvHeads: number;
}

/** The tensors of a tiny model as llama.cpp's converter writes them in BF16; a test compares their digest with it. */
export function ggufTensors(file: string, shape: TinyShape): GgufTensorEntry[] {
  const stacks = new Map<string, GgufTensorEntry>();
  for (const tensor of readTensors(file)) {
    const name = nameOf(tensor.name, shape.architecture);
    const entry = entryOf(name, tensor, shape);
    const earlier = stacks.get(name);
    // Experts stand in the file in the order of their numbers.
    stacks.set(name, earlier === undefined ? entry : stack(earlier, entry));
  }
  return [...stacks.values()].map((entry) =>
    entry.name.includes("_exps") && entry.dims.length === 2 ? { ...entry, dims: [...entry.dims, 1] } : entry,
  );
}

/** sha256 over the tensors in name order: name, dimensions and type as a line, then the bytes. */
export function digestOf(tensors: readonly GgufTensorEntry[]): string {
  const hash = createHash("sha256");
  for (const { name, dims, type, data } of tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    hash.update(`${name} ${dims.join(",")} ${type}\n`).update(data);
  }
  return hash.digest("hex");
}

function nameOf(name: string, architecture: string): string {
  if (name === "model.embed_tokens.weight") return "token_embd.weight";
  if (name === "model.norm.weight") return "output_norm.weight";
  if (name === "lm_head.weight") return "output.weight";
  const [, layer, rest = ""] = /^model\.layers\.(\d+)\.(.+)$/.exec(name) ?? [];
  const norm = postNormed.has(architecture) ? "post_attention_norm" : "ffn_norm";
  const all = [...rules, [/^post_attention_layernorm/, norm] as const];
  const [pattern, replacement] = all.find(([candidate]) => candidate.test(rest))!;
  return `blk.${layer}.${rest.replace(pattern, replacement)}`;
}

function entryOf(name: string, tensor: StoredTensor, shape: TinyShape): GgufTensorEntry {
  const { data } = tensor;
  const dims = tensor.shape.toReversed();
  const isQ = /attn_q\./.test(name);
  if (permuted.has(shape.architecture) && (isQ || /attn_k\./.test(name))) {
    const heads = isQ ? shape.numHeads : shape.numKvHeads;
    return { name, dims, type: bf16, data: permuteRows(data, tensor.shape[0]!, heads) };
  }
  if (dims.length > 1 && !name.includes("ffn_gate_inp")) return { name, dims, type: bf16, data };
  const offset = shape.architecture.startsWith("gemma") && name.endsWith("norm.weight") ? 1 : 0;
  const halves = new Uint16Array(data.slice().buffer);
  const bits = Uint32Array.from(halves, (half) => half << 16);
  const values = new Float32Array(bits.buffer).map((x) => x + offset);
  return { name, dims, type: f32, data: new Uint8Array(values.buffer) };
}

/** [heads, 2, half] → [heads, half, 2] of a matrix's rows. */
function permuteRows(data: Uint8Array, rows: number, heads: number): Uint8Array {
  const out = new Uint8Array(data.length);
  const rowBytes = data.length / rows;
  const half = rows / heads / 2;
  for (let row = 0; row < rows; row += 1) {
    const head = Math.floor(row / (2 * half));
    const inHead = row % (2 * half);
    const to = head * 2 * half + 2 * (inHead % half) + Math.floor(inHead / half);
    out.set(data.subarray(row * rowBytes, (row + 1) * rowBytes), to * rowBytes);
  }
  return out;
}

function stack(first: GgufTensorEntry, next: GgufTensorEntry): GgufTensorEntry {
  const [cols, rows, count = 1] = first.dims;
  const data = new Uint8Array(first.data.length + next.data.length);
  data.set(first.data);
  data.set(next.data, first.data.length);
  return { ...first, dims: [cols!, rows!, count + 1], data };
}
