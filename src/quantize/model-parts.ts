import { MillraceError } from "../base/errors.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import { ggufName } from "../formats/gguf/names.ts";
import type { LinearShape } from "./scheme.ts";

/** A model's parts under Hugging Face names, each in name order. */
export interface ModelParts {
  /** Linears that are quantised. */
  readonly linears: readonly LinearShape[];
  /** Embedding, head and routers: they stay dense. */
  readonly dense: readonly LinearShape[];
  /** Norms and biases, full names. */
  readonly vectors: readonly VectorShape[];
}

export interface VectorShape {
  readonly name: string;
  readonly length: number;
}

const layerModules = [
  ...["q_proj", "k_proj", "v_proj", "o_proj"].map((name) => `self_attn.${name}`),
  ...["gate_proj", "up_proj", "down_proj"].map((name) => `mlp.${name}`),
];
const layerNorms = ["input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm"];

/**
 * Lists what a checkpoint holds. Throws `unsupported_format` for a tensor that would be lost: nothing is dropped
 * silently.
 */
export function listModelParts(checkpoint: Checkpoint): ModelParts {
  const infos = new Map(checkpoint.tensors.map((info) => [info.name, info]));
  const names =
    checkpoint.format === "gguf" ? ggufParts(checkpoint, infos) : safetensorsParts(checkpoint.tensors);
  const shapeOf = (module: string): LinearShape => {
    const info = infos.get(`${module}.weight`) ?? infos.get(ggufName(`${module}.weight`) ?? "");
    const [rows, cols] = info?.shape ?? [];
    if (rows !== undefined && cols !== undefined) return { module, rows, cols };
    const weight = checkpoint.linear(module);
    return { module, rows: weight.rows, cols: weight.cols };
  };
  const shapes = names.modules.toSorted().map(shapeOf);
  return {
    linears: shapes.filter((shape) => !staysDense(shape.module)),
    dense: shapes.filter((shape) => staysDense(shape.module)),
    vectors: names.vectors
      .toSorted()
      .map((name) => ({ name, length: vectorLength(checkpoint, infos, name) })),
  };
}

/** Embedding and head by name; routers of mixture-of-experts layers are called `gate`. */
function staysDense(module: string): boolean {
  return !module.startsWith("model.layers.") || /\.(gate|router)$/.test(module);
}

/** Modules of the class Linear that stay dense; a tied head counts though it has no tensor of its own. */
export function ignoredLinears(parts: ModelParts): string[] {
  const names = parts.dense.map((shape) => shape.module).filter((module) => !module.endsWith("embed_tokens"));
  return [...new Set(["lm_head", ...names])].toSorted();
}

interface PartNames {
  readonly modules: readonly string[];
  readonly vectors: readonly string[];
}

function safetensorsParts(tensors: readonly TensorInfo[]): PartNames {
  const modules = new Set<string>();
  const vectors: string[] = [];
  for (const { name, shape } of tensors) {
    if (/\.(weight_scale|weight_shape|weight_zero_point|rotary_emb\.inv_freq)$/.test(name)) continue;
    const module = /^(.+)\.weight(_packed)?$/.exec(name)?.[1];
    if (module !== undefined && shape.length === 2) modules.add(module);
    else if (shape.length === 1 && /\.(weight|bias)$/.test(name)) vectors.push(name);
    else throw unknownTensor(name, shape);
  }
  return { modules: [...modules], vectors };
}

function ggufParts(checkpoint: Checkpoint, infos: ReadonlyMap<string, TensorInfo>): PartNames {
  const layers = Array.from({ length: checkpoint.config.numLayers }, (_, index) => `model.layers.${index}.`);
  const modules = [
    "model.embed_tokens",
    "lm_head",
    ...layers.flatMap((layer) => layerModules.map((name) => layer + name)),
  ];
  const norms = ["model.norm", ...layers.flatMap((layer) => layerNorms.map((name) => layer + name))];
  const candidates = [...norms.map((name) => `${name}.weight`), ...modules.map((module) => `${module}.bias`)];
  const isThere = (name: string): boolean => infos.has(ggufName(name) ?? "");
  const found: PartNames = {
    modules: modules.filter((module) => isThere(`${module}.weight`)),
    vectors: candidates.filter(isThere),
  };
  const known = new Set(
    [...found.modules.map((module) => `${module}.weight`), ...found.vectors].map(ggufName),
  );
  for (const { name, shape } of infos.values()) {
    // The per-frequency divisors of llama3 scaling are part of the configuration.
    if (!known.has(name) && name !== "rope_freqs.weight") throw unknownTensor(name, shape);
  }
  return found;
}

function vectorLength(checkpoint: Checkpoint, infos: ReadonlyMap<string, TensorInfo>, name: string): number {
  const info = infos.get(name) ?? infos.get(ggufName(name) ?? "");
  return info?.shape[0] ?? checkpoint.vector(name).length;
}

function unknownTensor(name: string, shape: readonly number[]): MillraceError {
  return new MillraceError(
    "unsupported_format",
    `The model has a tensor ${name} [${shape.join(", ")}] that the quantiser does not know. It takes matrices named *.weight and vectors named *.weight or *.bias. Use a model of a supported family.`,
  );
}
