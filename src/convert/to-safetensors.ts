import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { MillraceError } from "../base/errors.ts";
import { type Progress, silentProgress } from "../base/progress.ts";
import type { FloatDtype, OrderedWeight } from "../base/weights.ts";
import { toWriteFault } from "../base/write-file.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { narrowFloats, toDense, withColumnsInOrder } from "../formats/dequantize.ts";
import { createSafetensors, type TensorSpec, totalBytes } from "../formats/safetensors-writer.ts";
import { readCompanions, sortKeys, writeJson } from "../quantize/companion-files.ts";
import type { LinearScheme } from "../quantize/linear-scheme.ts";
import { listModelParts, type ModelParts } from "../quantize/model-parts.ts";
import { checkFreeSpace, openOutputFolder } from "../quantize/output-folder.ts";
import { quantizationConfig } from "../quantize/quantization-config.ts";
import {
  compressedTensors,
  dtypeNames,
  exactFloatType,
  exactScheme,
  type NamedData,
} from "./compressed-linear.ts";
import { type ConversionSummary, type ConvertDtype, type ConvertPlan, shardsOf } from "./plan.ts";

const floatTypes: Readonly<Partial<Record<ConvertDtype, FloatDtype>>> = {
  float32: "f32",
  float16: "f16",
  bfloat16: "bf16",
};

/** What becomes of a module or a vector: its tensors, made when they are written. */
interface Item {
  readonly name: string;
  readonly specs: readonly TensorSpec[];
  readonly numElements: number;
  /** Null for what stays dense. */
  readonly scheme: LinearScheme | null;
  make(): readonly NamedData[];
}

/**
 * Writes a model as a folder of safetensors with config.json and tokenizer. Integers and scales stay as they are, in
 * compressed-tensors; floats stay or become `dtype`. The folder appears under its name only when it is complete.
 * Throws `unsupported_format`, `invalid_option`, `output_exists`, `output_unwritable`, `disk_full`.
 */
export async function convertToSafetensors(
  checkpoint: Checkpoint,
  plan: ConvertPlan,
  progress: Progress = silentProgress,
): Promise<ConversionSummary> {
  const notes: string[] = [];
  const parts = listModelParts(checkpoint);
  const items = planItems(checkpoint, parts, plan.dtype, notes);
  const specs = items.flatMap((item) => item.specs);
  const writeCompanions = readCompanions(checkpoint, plan.tokenizer);
  const folder = openOutputFolder(plan.outPath);
  try {
    checkFreeSpace(folder.partialPath, totalBytes(specs));
    await writeShards(folder.partialPath, items, plan.maxShardBytes, progress);
    const schemes = new Map(items.flatMap(({ name, scheme }) => (scheme === null ? [] : [[name, scheme]])));
    const dense = items.filter(({ scheme, specs: own }) => scheme === null && own[0]!.shape.length === 2);
    const config = configOf(
      checkpoint,
      plan.dtype,
      quantizationConfig(schemes, { dense: dense.map(({ name }) => name), observer: null }),
    );
    writeJson(path.join(folder.partialPath, "config.json"), config);
    const note = writeCompanions(folder.partialPath);
    if (note !== null) notes.push(note);
    folder.commit();
  } catch (error) {
    folder.discard();
    throw toWriteFault(plan.outPath, error);
  }
  progress.finish(`${specs.length} tensors written`);
  const numIntegers = items.filter(({ scheme }) => scheme !== null).length;
  return {
    outPath: plan.outPath,
    format: "safetensors",
    weightFormat: numIntegers > 0 ? "compressed-tensors" : specs[0]!.dtype.toLowerCase(),
    sizeBytes: totalBytes(specs),
    numTensors: specs.length,
    notes,
  };
}

function planItems(
  checkpoint: Checkpoint,
  parts: ModelParts,
  dtype: ConvertDtype,
  notes: string[],
): readonly Item[] {
  const matrices = [...parts.dense, ...parts.linears].map(({ module }) =>
    planMatrix(checkpoint, module, dtype, notes),
  );
  const vectors = parts.vectors.map(({ name, length }): Item => {
    // GGUF keeps vectors in f32 whatever they were: the type that they had is found again.
    const type = floatTypes[dtype] ?? exactFloatType(checkpoint.vector(name));
    const spec = { name, dtype: dtypeNames[type], shape: [length] };
    const make = (): readonly NamedData[] => [{ ...spec, data: narrowFloats(checkpoint.vector(name), type) }];
    return { name, specs: [spec], numElements: length, scheme: null, make };
  });
  return [...matrices, ...vectors];
}

function planMatrix(checkpoint: Checkpoint, module: string, dtype: ConvertDtype, notes: string[]): Item {
  const weight = withColumnsInOrder(checkpoint.linear(module));
  const { rows, cols } = weight;
  const own = { name: module, numElements: rows * cols };
  const floatType = floatTypes[dtype] ?? keptType(weight, module);
  if (floatType !== null) {
    if (weight.kind === "integer" && dtype === "auto")
      notes.push(
        `${module} is an embedding, which compressed-tensors keeps in floats: written in f32, which is exact, and stays so on the way back to GGUF.`,
      );
    const spec = { name: `${module}.weight`, dtype: dtypeNames[floatType], shape: [rows, cols] };
    const make = (): readonly NamedData[] => [
      { ...spec, data: toDense(checkpoint.linear(module), floatType).data },
    ];
    return { ...own, specs: [spec], scheme: null, make };
  }
  const scheme = weight.kind === "integer" ? exactScheme(weight) : null;
  if (weight.kind === "dense" || scheme === null) {
    throw new MillraceError(
      "unsupported_format",
      `${module} (${checkpoint.weightFormat}) has no form in compressed-tensors that holds it exactly. Give --dtype bfloat16, float16 or float32 to dequantise it.`,
      { param: "--dtype" },
    );
  }
  const specs = compressedTensors(module, weight, scheme).map(({ data: _data, ...spec }) => spec);
  const make = (): readonly NamedData[] => {
    const again = withColumnsInOrder(checkpoint.linear(module));
    return again.kind === "integer" ? compressedTensors(module, again, scheme) : [];
  };
  return { ...own, specs, scheme, make };
}

/** The float type of a matrix under `auto`, or null for integers that stay so. */
function keptType(weight: OrderedWeight, module: string): FloatDtype | null {
  if (weight.kind === "integer") return module.endsWith("embed_tokens") ? "f32" : null;
  // Routers are f32 in GGUF whatever they were.
  const isRouter = /\.(gate|router)$/.test(module) && weight.dtype === "f32";
  return isRouter ? exactFloatType(new Float32Array(weight.data.slice().buffer)) : weight.dtype;
}

async function writeShards(
  folder: string,
  items: readonly Item[],
  maxBytes: number | null,
  progress: Progress,
): Promise<void> {
  const shards = shardsOf(items, (item) => totalBytes(item.specs), maxBytes);
  const digits = (value: number): string => String(value).padStart(5, "0");
  const weightMap: Record<string, string> = {};
  let done = 0;
  progress.start(
    "convert",
    items.reduce((sum, item) => sum + item.numElements, 0),
  );
  for (const [index, shard] of shards.entries()) {
    const name =
      shards.length === 1
        ? "model.safetensors"
        : `model-${digits(index + 1)}-of-${digits(shards.length)}.safetensors`;
    const file = createSafetensors(
      path.join(folder, name),
      shard.flatMap((item) => item.specs),
    );
    try {
      for (const item of shard) {
        for (const tensor of item.make()) {
          file.write(tensor.name, tensor.data);
          weightMap[tensor.name] = name;
        }
        done += item.numElements;
        progress.update(done, item.name);
        await nextTurn();
      }
      file.commit();
    } finally {
      file.discard();
    }
  }
  if (shards.length === 1) return;
  const total = totalBytes(items.flatMap((item) => item.specs));
  const index = { metadata: { total_size: total }, weight_map: sortKeys(weightMap) };
  writeJson(path.join(folder, "model.safetensors.index.json"), index);
}

function configOf(
  checkpoint: Checkpoint,
  dtype: ConvertDtype,
  quantization: Readonly<Record<string, unknown>> | null,
): unknown {
  const { quantization_config: _old, compression_config: _older, ...config } = checkpoint.config.json;
  const key = "torch_dtype" in config ? "torch_dtype" : "dtype";
  return sortKeys({
    ...config,
    ...(dtype === "auto" ? {} : { [key]: dtype }),
    ...(quantization === null ? {} : { quantization_config: quantization }),
  });
}
