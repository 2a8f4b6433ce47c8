import { existsSync } from "node:fs";
import path from "node:path";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import type { DenseWeight, FloatDtype, Weight, WeightForm } from "../base/weights.ts";
import type { Checkpoint, OpenTools, TensorInfo, TokenizerSource } from "./checkpoint.ts";
import { widenFloats } from "./dequantize.ts";
import { isJsonObject, type JsonObject, readJsonObject } from "./json-file.ts";
import { type ModelConfig, parseModelConfig } from "./model-config.ts";
import { type QuantizedLinears, readQuantization } from "./quantized/quantized-linears.ts";
import { openSafetensors, type SafetensorsFiles } from "./safetensors-files.ts";
import { floatDtypes, type StoredTensor, type TensorHeader } from "./stored-tensor.ts";
import { readTokenizerFolder } from "./tokenizer-source.ts";

/** A folder as transformers writes it: config.json and safetensors, dense or quantised. */
export class SafetensorsCheckpoint implements Checkpoint {
  readonly path: string;
  readonly format = "safetensors" as const;
  readonly config: ModelConfig;
  readonly tensors: readonly TensorInfo[];
  readonly sizeBytes: number;
  readonly weightFormat: string;
  readonly #files: SafetensorsFiles;
  /** What is wrong with the quantisation is told when a weight is asked for, so that the rest can be inspected. */
  readonly #quantization: QuantizedLinears | MillraceError | null;

  /** Throws `file_not_found`, `invalid_model_file`, `tensor_missing`, and what `onArchitecture` throws. */
  constructor(folder: string, { mapFile, onArchitecture }: OpenTools) {
    const file = path.join(folder, "config.json");
    const json = readJsonObject(file);
    this.path = folder;
    this.config = parseModelConfig(json, { file, onArchitecture });
    this.#files = openSafetensors(folder, mapFile);
    this.tensors = this.#files.infos;
    this.sizeBytes = this.#files.sizeBytes;
    const described = withOldConfig(json, folder);
    this.#quantization = quantizationOf(described, this.tensors);
    this.weightFormat = nameWeightFormat(described, this.#quantization, this.tensors);
  }

  named(): readonly TensorInfo[] {
    return this.tensors;
  }

  has(name: string): boolean {
    return [name, `${name}.weight`, `${name}.weight_packed`, `${name}.qweight`].some((candidate) =>
      this.#files.has(candidate),
    );
  }

  form(name: string): WeightForm {
    if (isMillraceError(this.#quantization)) throw this.#quantization;
    const module = this.#tiedModule(name);
    const quantized = this.#quantization?.form(module, this.#files) ?? null;
    if (quantized !== null) return quantized;
    const tensor = this.#files.header(`${module}.weight`);
    const [rows, cols] = tensor.shape as [number, number];
    return { kind: "dense", rows, cols, dtype: floatTypeOf(tensor, 2) };
  }

  linear(name: string): Weight {
    if (isMillraceError(this.#quantization)) throw this.#quantization;
    const module = this.#tiedModule(name);
    const quantized = this.#quantization?.read(module, this.#files) ?? null;
    if (quantized !== null) return quantized;
    return denseWeight(this.#files.tensor(`${module}.weight`));
  }

  vector(name: string): Float32Array {
    const tensor = this.#files.tensor(name);
    return widenFloats(tensor.data, floatTypeOf(tensor, 1));
  }

  vectorLength(name: string): number {
    const header = this.#files.header(name);
    floatTypeOf(header, 1);
    return header.shape[0]!;
  }

  /** A tied matrix is stored once, as the embedding or (when quantised) as the head, and read under both names. */
  #tiedModule(module: string): string {
    if (!this.config.tieWordEmbeddings || this.has(module)) return module;
    if (module === "lm_head") return "model.embed_tokens";
    return module === "model.embed_tokens" ? "lm_head" : module;
  }

  tokenizer(): TokenizerSource | null {
    return readTokenizerFolder(this.path);
  }

  dropPages(): void {
    this.#files.dropPages();
  }

  close(): void {
    this.#files.close();
  }
}

function denseWeight(tensor: StoredTensor): DenseWeight {
  const [rows, cols] = tensor.shape as [number, number];
  return { kind: "dense", rows, cols, dtype: floatTypeOf(tensor, 2), data: tensor.data };
}

/** The float type of a vector (1 dimension) or matrix (2). Throws `invalid_model_file` or `unsupported_format`. */
function floatTypeOf({ name, dtype, shape }: TensorHeader, dimensions: 1 | 2): FloatDtype {
  const known = floatDtypes[dtype];
  if (known === undefined) {
    throw new MillraceError(
      "unsupported_format",
      `${name} is ${dtype} [${shape.join(", ")}]; F32, F16 and BF16 are read here. Convert the model to bfloat16, or use a GGUF or compressed-tensors copy.`,
    );
  }
  if (shape.length === dimensions) return known;
  const wanted = dimensions === 1 ? "one dimension" : "two dimensions";
  throw new MillraceError(
    "invalid_model_file",
    `${name} has shape [${shape.join(", ")}]; it takes ${wanted}. Fetch the model again, or store the tensor with ${wanted}.`,
  );
}

/** GPTQ checkpoints of before 2024 describe themselves in a file of their own. */
function withOldConfig(json: JsonObject, folder: string): JsonObject {
  const file = path.join(folder, "quantize_config.json");
  if ((json["quantization_config"] ?? null) !== null || !existsSync(file)) return json;
  return { ...json, quantization_config: { quant_method: "gptq", ...readJsonObject(file) } };
}

/** Kept as an error until a weight is asked for, so that the rest of an unsupported checkpoint can be shown. */
function quantizationOf(
  json: JsonObject,
  tensors: readonly TensorInfo[],
): QuantizedLinears | MillraceError | null {
  try {
    const quantization = readQuantization(json);
    if (quantization !== null) checkPacked(quantization, tensors);
    return quantization;
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
}

/** Weights of plain floats under a configuration that says otherwise would run, and not as it says. */
function checkPacked({ label, packedSuffix }: QuantizedLinears, tensors: readonly TensorInfo[]): void {
  if (packedSuffix === null || tensors.some(({ name }) => name.endsWith(packedSuffix))) return;
  throw new MillraceError(
    "invalid_model_file",
    `The configuration says ${label}, but no tensor's name ends with ${packedSuffix}: the weights are not packed. Fetch the quantised files, or take quantization_config out of config.json to run the floats.`,
  );
}

/** The scheme of compressed files, else the type that most bytes have. */
function nameWeightFormat(
  json: JsonObject,
  quantization: QuantizedLinears | MillraceError | null,
  tensors: readonly TensorInfo[],
): string {
  if (quantization !== null && !isMillraceError(quantization)) return quantization.label;
  const config = json["quantization_config"];
  if (quantization !== null && isJsonObject(config)) return `${String(config["quant_method"])} (not read)`;
  return mainDtype(tensors).toLowerCase();
}

/** The element type that holds most bytes; "none" for no tensors. */
export function mainDtype(tensors: readonly TensorInfo[]): string {
  const bytes = new Map<string, number>();
  for (const tensor of tensors) bytes.set(tensor.dtype, (bytes.get(tensor.dtype) ?? 0) + tensor.sizeBytes);
  let main = "none";
  for (const [dtype, size] of bytes) if (size > (bytes.get(main) ?? 0)) main = dtype;
  return main;
}
