import path from "node:path";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import { formatCount } from "../base/units.ts";
import type { DenseWeight } from "../base/weights.ts";
import type { FileMapper } from "./checkpoint.ts";
import { readJsonObject } from "./json-file.ts";
import { type PeftConfig, readPeftConfig } from "./peft-config.ts";
import { readSafetensorsHeader } from "./safetensors.ts";
import { SafetensorsFiles } from "./safetensors-files.ts";
import { floatDtypes } from "./stored-tensor.ts";

/** What an adapter adds to one module of its model: scale · (x · Aᵀ) · Bᵀ. */
export interface AdapterModule {
  /** Such as "model.layers.0.self_attn.q_proj". */
  readonly module: string;
  /** [rank, columns of the module] */
  readonly a: DenseWeight;
  /** [rows of the module, rank] */
  readonly b: DenseWeight;
  readonly scale: number;
}

/** A LoRA adapter as PEFT writes it; its matrices are views of a mapped file. */
export interface AdapterFile {
  readonly path: string;
  readonly modules: ReadonlyMap<string, AdapterModule>;
  /** Largest rank of its modules. */
  readonly rank: number;
}

const configName = "adapter_config.json";
const weightsName = "adapter_model.safetensors";
const tensorName = /^base_model\.model\.(.+)\.lora_([AB])(?:\.default)?\.weight$/;

/**
 * Opens a folder with `adapter_config.json` and `adapter_model.safetensors`. Every tensor must be one of a pair of
 * low-rank matrices: nothing of an adapter is left out.
 *
 * Errors: `unsupported_adapter` for what else an adapter can be, `invalid_adapter` for what does not add up, files that
 * cannot be read among it.
 */
export function openAdapter(folder: string, mapFile: FileMapper): AdapterFile {
  try {
    const configFile = path.join(folder, configName);
    const config = readPeftConfig(readJsonObject(configFile), configFile);
    const weightsFile = path.join(folder, weightsName);
    const files = new SafetensorsFiles([readSafetensorsHeader(weightsFile)], mapFile);
    const modules = new Map<string, AdapterModule>();
    for (const module of listModules(files, weightsFile))
      modules.set(module.name, readModule(files, module, config, weightsFile));
    const rank = Math.max(...Array.from(modules.values(), ({ a }) => a.rows));
    return { path: folder, modules, rank };
  } catch (error) {
    if (!isMillraceError(error) || error.kind === "caller") throw error;
    throw new MillraceError("invalid_adapter", error.message, { cause: error });
  }
}

interface StoredModule {
  readonly name: string;
  /** Names of its tensors in the file. */
  a?: string;
  b?: string;
}

function listModules(files: SafetensorsFiles, file: string): Iterable<StoredModule> {
  const modules = new Map<string, StoredModule>();
  for (const { name } of files.infos) {
    const [, module, side] = tensorName.exec(name) ?? [];
    if (module === undefined) {
      throw new MillraceError(
        "unsupported_adapter",
        `${file} holds ${name}; adapters of pairs lora_A.weight and lora_B.weight run here and nothing beside them. Train it so, or merge it into the weights.`,
      );
    }
    const known = modules.get(module) ?? { name: module };
    modules.set(module, known);
    const key = side === "A" ? "a" : "b";
    if (known[key] !== undefined) throw invalid(`${file} holds lora_${side} of ${module} twice`);
    known[key] = name;
  }
  if (modules.size === 0) throw invalid(`${file} holds no tensors`);
  return modules.values();
}

function readModule(
  files: SafetensorsFiles,
  { name, a, b }: StoredModule,
  config: PeftConfig,
  file: string,
): AdapterModule {
  if (a === undefined || b === undefined)
    throw invalid(`${file} has ${a === undefined ? "no lora_A" : "no lora_B"} for ${name}`);
  const module = {
    module: name,
    a: readMatrix(files, a, file),
    b: readMatrix(files, b, file),
    scale: config.scale(name),
  };
  const rank = config.rank(name);
  if (module.a.rows === rank && module.b.cols === rank) return module;
  const shapes = `lora_A [${module.a.rows}, ${module.a.cols}] and lora_B [${module.b.rows}, ${module.b.cols}]`;
  throw invalid(`${name} has ${shapes}; ${configName} gives it the rank ${formatCount(rank)}`);
}

function readMatrix(files: SafetensorsFiles, name: string, file: string): DenseWeight {
  const { dtype: stored, shape, data } = files.tensor(name);
  const dtype = floatDtypes[stored];
  const [rows, cols] = shape;
  if (dtype !== undefined && shape.length === 2 && rows! > 0 && cols! > 0)
    return { kind: "dense", rows: rows!, cols: cols!, dtype, data };
  throw invalid(
    `${file} has ${name} as ${stored} [${shape.join(", ")}]; matrices of F32, F16 or BF16 are read here`,
  );
}

function invalid(fault: string): MillraceError {
  return new MillraceError("invalid_adapter", `${fault}. Fetch the adapter again, or export it anew.`);
}
