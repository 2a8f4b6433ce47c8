import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { f32ToBf16 } from "../src/base/half.ts";

/** A Llama of a few ten thousand random bfloat16 weights, written as transformers would: for tests that need speed. */
export interface RandomModel {
  readonly path: string;
  readonly vocabSize: number;
  remove(): void;
}

const shape = {
  hiddenSize: 64,
  intermediateSize: 96,
  numLayers: 2,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 32,
  vocabSize: 320,
};

export function writeRandomModel(maxPositions = 512): RandomModel {
  const folder = mkdtempSync(path.join(os.tmpdir(), "random-model-"));
  writeFileSync(
    path.join(folder, "config.json"),
    JSON.stringify({ ...config, max_position_embeddings: maxPositions }),
  );
  writeFileSync(path.join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: [2, 0] }));
  writeFileSync(path.join(folder, "model.safetensors"), safetensors());
  return {
    path: folder,
    vocabSize: shape.vocabSize,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: shape.hiddenSize,
  intermediate_size: shape.intermediateSize,
  num_hidden_layers: shape.numLayers,
  num_attention_heads: shape.numHeads,
  num_key_value_heads: shape.numKvHeads,
  head_dim: shape.headDim,
  vocab_size: shape.vocabSize,
  rms_norm_eps: 1e-5,
  hidden_act: "silu",
  rope_theta: 10000,
  tie_word_embeddings: true,
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: 1,
  eos_token_id: 2,
  torch_dtype: "bfloat16",
};

/** Names and shapes of all tensors. */
function tensorShapes(): Map<string, number[]> {
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, vocabSize } = shape;
  const shapes = new Map([["model.embed_tokens.weight", [vocabSize, hiddenSize]]]);
  for (let layer = 0; layer < shape.numLayers; layer += 1) {
    const name = `model.layers.${layer}`;
    shapes.set(`${name}.input_layernorm.weight`, [hiddenSize]);
    shapes.set(`${name}.post_attention_layernorm.weight`, [hiddenSize]);
    shapes.set(`${name}.self_attn.q_proj.weight`, [numHeads * headDim, hiddenSize]);
    shapes.set(`${name}.self_attn.k_proj.weight`, [numKvHeads * headDim, hiddenSize]);
    shapes.set(`${name}.self_attn.v_proj.weight`, [numKvHeads * headDim, hiddenSize]);
    shapes.set(`${name}.self_attn.o_proj.weight`, [hiddenSize, numHeads * headDim]);
    shapes.set(`${name}.mlp.gate_proj.weight`, [intermediateSize, hiddenSize]);
    shapes.set(`${name}.mlp.up_proj.weight`, [intermediateSize, hiddenSize]);
    shapes.set(`${name}.mlp.down_proj.weight`, [hiddenSize, intermediateSize]);
  }
  return shapes.set("model.norm.weight", [hiddenSize]);
}

/** Norms near 1; matrices wide enough that answers depend on every earlier token. */
function safetensors(): Buffer {
  let state = 12345;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  const header: Record<string, unknown> = {};
  const values: number[] = [];
  for (const [name, dimensions] of tensorShapes()) {
    const count = dimensions.reduce((a, b) => a * b, 1);
    const start = values.length * 2;
    for (let index = 0; index < count; index += 1)
      values.push(dimensions.length === 1 ? 1 + next() / 8 : next() / 3);
    header[name] = { dtype: "BF16", shape: dimensions, data_offsets: [start, values.length * 2] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, Buffer.from(Uint16Array.from(values, f32ToBf16).buffer)]);
}
