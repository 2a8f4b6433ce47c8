import { MillraceError } from "../base/errors.ts";
import type { Checkpoint, NamedShape } from "../formats/checkpoint.ts";
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

/**
 * Lists what a checkpoint holds. Throws `unsupported_format` for a tensor that would be lost: nothing is dropped
 * silently.
 */
export function listModelParts(checkpoint: Checkpoint): ModelParts {
  const named = checkpoint.named();
  const infos = new Map(named.map((info) => [info.name, info]));
  const names = splitNames(named);
  const shapeOf = (module: string): LinearShape => {
    // 4 bits of bitsandbytes lie in one column.
    const isMatrix = !infos.has(`${module}.weight.absmax`);
    const [rows, cols] = (isMatrix ? infos.get(`${module}.weight`)?.shape : undefined) ?? [];
    if (rows !== undefined && cols !== undefined) return { module, rows, cols };
    const weight = checkpoint.linear(module);
    return { module, rows: weight.rows, cols: weight.cols };
  };
  const shapes = names.modules.toSorted().map(shapeOf);
  return {
    linears: shapes.filter((shape) => !staysDense(shape.module)),
    dense: shapes.filter((shape) => staysDense(shape.module)),
    vectors: names.vectors.toSorted().map((name) => ({ name, length: infos.get(name)!.shape[0]! })),
  };
}

/** Embedding and head by name; routers of mixture-of-experts layers are called `gate`. */
function staysDense(module: string): boolean {
  return !module.startsWith("model.layers.") || /\.(gate|router)$/.test(module);
}

/** What the quantised formats keep beside a weight (formats/quantized/), and RoPE tables of old checkpoints. */
const besideWeights =
  /\.(weight_scale|weight_scale_inv|input_scale|weight_shape|weight_zero_point|qzeros|scales|g_idx|SCB|weight_format|weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+)|rotary_emb\.inv_freq)$/;

interface PartNames {
  readonly modules: readonly string[];
  readonly vectors: readonly string[];
}

function splitNames(tensors: readonly NamedShape[]): PartNames {
  const modules = new Set<string>();
  const vectors: string[] = [];
  for (const { name, shape } of tensors) {
    if (besideWeights.test(name)) continue;
    const module = /^(.+)\.(weight|weight_packed|qweight)$/.exec(name)?.[1];
    if (module !== undefined && shape.length === 2) modules.add(module);
    else if (shape.length === 1 && /\.(weight|bias)$/.test(name)) vectors.push(name);
    else throw unknownTensor(name, shape);
  }
  return { modules: [...modules], vectors };
}

function unknownTensor(name: string, shape: readonly number[]): MillraceError {
  return new MillraceError(
    "unsupported_format",
    `The model has a tensor ${name} [${shape.join(", ")}] that the quantiser does not know. It takes matrices named *.weight and vectors named *.weight or *.bias. Use a model of a supported family.`,
  );
}
