import { MillraceError } from "../../base/errors.ts";
import type { FloatDtype, Weight, WeightForm } from "../../base/weights.ts";
import type {
  Checkpoint,
  FileMapper,
  MappedFile,
  MatrixShape,
  NamedShape,
  OpenTools,
  TensorInfo,
  TokenizerSource,
} from "../checkpoint.ts";
import { widenFloats } from "../dequantize.ts";
import type { ModelConfig } from "../model-config.ts";
import { floatDtypes } from "../stored-tensor.ts";
import { blockForm, readableTypes, readBlocks } from "./blocks.ts";
import { readGgufModel } from "./config.ts";
import type { GgufFamily } from "./families.ts";
import type { GgufHeader, GgufTensor } from "./header.ts";
import { GgufNames } from "./names.ts";
import { unpermuteRows } from "./row-order.ts";
import { readGgufFiles } from "./split-files.ts";
import { otherFiles } from "./tensor-types.ts";
import { readGgufTokenizer } from "./tokenizer.ts";

/** Where a weight stands in the file. */
interface PlacedTensor {
  readonly tensor: GgufTensor;
  /** Of a stack. */
  readonly expert: number | undefined;
  /** 0, or the height of the heads whose rows the file has in adjacent pairs. */
  readonly pairedHeadDim: number;
}

/** A model in one GGUF file, or in the parts of a split one. */
export class GgufCheckpoint implements Checkpoint {
  readonly path: string;
  readonly format = "gguf" as const;
  readonly config: ModelConfig;
  readonly tensors: readonly TensorInfo[];
  readonly sizeBytes: number;
  readonly weightFormat: string;
  readonly #header: GgufHeader;
  readonly #family: GgufFamily;
  readonly #names: GgufNames;
  readonly #mapFile: FileMapper;
  readonly #files: Map<string, MappedFile> = new Map();

  /** Throws `file_not_found`, `invalid_model_file`, `unsupported_format` or `unsupported_architecture`. */
  constructor(path: string, { mapFile, onArchitecture }: OpenTools) {
    this.path = path;
    this.#mapFile = mapFile;
    this.#header = readGgufFiles(path);
    this.sizeBytes = this.#header.sizeBytes;
    this.tensors = [...this.#header.tensors.values()].map((tensor) => ({
      name: tensor.name,
      dtype: tensor.type.name,
      shape: tensor.shape,
      sizeBytes: tensor.sizeBytes,
      file: tensor.file.path,
    }));
    const ropeFactors = this.#header.tensors.has("rope_freqs.weight")
      ? this.#floats("rope_freqs.weight")
      : null;
    const model = readGgufModel(this.#header, ropeFactors, onArchitecture);
    this.config = model.config;
    this.#family = model.family;
    this.#names = new GgufNames(model.family.modules);
    this.weightFormat = `GGUF ${mainLinearType(this.#header)}`;
  }

  has(name: string): boolean {
    const place = this.#names.find(name);
    if (place === undefined) return false;
    const tensor =
      this.#header.tensors.get(place.tensor) ?? this.#header.tensors.get(`${place.tensor}.weight`);
    return tensor !== undefined && (place.expert ?? 0) < (place.expert === undefined ? 1 : tensor.shape[0]!);
  }

  named(): NamedShape[] {
    return this.tensors
      .filter(({ name }) => name !== "rope_freqs.weight")
      .flatMap(({ name, shape }) => {
        const isStack = shape.length === 3;
        const names = this.#names.namesOf(name, isStack ? shape[0]! : 0);
        if (names.length === 0) return [{ name, shape }];
        return names.map((own) => ({ name: own, shape: isStack ? shape.slice(1) : shape }));
      });
  }

  form(module: string): WeightForm {
    const { tensor, rows, cols } = this.#matrix(module);
    return blockForm(tensor.type.name, rows, cols) ?? this.#noMatrix(tensor);
  }

  linear(module: string): Weight {
    const { tensor, expert, rows, cols, pairedHeadDim } = this.#matrix(module);
    const data = this.#matrixBytes(tensor, expert);
    return readBlocks({ type: tensor.type.name, rows, cols, data, pairedHeadDim }) ?? this.#noMatrix(tensor);
  }

  vectorLength(name: string): number {
    return this.#vector(name).tensor.shape[0]!;
  }

  vector(name: string): Float32Array {
    const { tensor, pairedHeadDim } = this.#vector(name);
    const values = this.#floats(tensor.name);
    const { normOffset } = this.#family;
    if (normOffset !== 0 && name.endsWith("norm.weight")) return values.map((x) => x - normOffset);
    if (pairedHeadDim === 0) return values;
    return new Float32Array(
      unpermuteRows(new Uint8Array(values.buffer), 4, pairedHeadDim).buffer as ArrayBuffer,
    );
  }

  tokenizer(): TokenizerSource | null {
    return readGgufTokenizer(this.#header);
  }

  dropPages(): void {
    for (const file of this.#files.values()) file.dropPages();
  }

  close(): void {
    this.#files.clear();
  }

  /** A matrix, or one of a stack, as far as the header tells. */
  #matrix(module: string): MatrixShape & PlacedTensor {
    const isTiedHead = module === "lm_head" && this.config.tieWordEmbeddings && !this.has(module);
    const { tensor, expert } = this.#find(`${isTiedHead ? "model.embed_tokens" : module}.weight`);
    const dimensions = expert === undefined ? 2 : 3;
    if (tensor.shape.length !== dimensions) throw this.#badShape(tensor, dimensions);
    if (expert !== undefined && expert >= tensor.shape[0]!) {
      throw new MillraceError(
        "invalid_model_file",
        `${tensor.name} holds ${tensor.shape[0]} experts; the model's configuration asks for number ${expert}. Fetch the file again.`,
      );
    }
    const [rows, cols] = tensor.shape.slice(-2) as [number, number];
    return { tensor, expert, rows, cols, pairedHeadDim: this.#pairedHeadDim(module, tensor, rows) };
  }

  #vector(name: string): PlacedTensor {
    const { tensor, expert } = this.#find(name);
    if (tensor.shape.length !== 1) throw this.#badShape(tensor, 1);
    this.#floatTypeOf(tensor);
    const pairedHeadDim = this.#pairedHeadDim(name.replace(/\.bias$/, ""), tensor, tensor.shape[0]!);
    return { tensor, expert, pairedHeadDim };
  }

  #noMatrix(tensor: GgufTensor): never {
    throw this.#unreadable(tensor, `a tensor of type ${readableTypes.join(", ")}`);
  }

  /** The height of the heads whose rows the file has in adjacent pairs, or 0. */
  #pairedHeadDim(module: string, tensor: GgufTensor, rows: number): number {
    if (!this.#family.isPermuted || !/\.self_attn\.[qk]_proj$/.test(module)) return 0;
    const { headDim } = this.config;
    if (headDim % 2 === 0 && rows % headDim === 0) return headDim;
    throw new MillraceError(
      "invalid_model_file",
      `${tensor.name} has ${rows} rows, which are not whole heads of an even width (${headDim}). Fetch the file again.`,
    );
  }

  #find(name: string): { readonly tensor: GgufTensor; readonly expert: number | undefined } {
    const place = this.#names.find(name);
    const tensor = place === undefined ? undefined : this.#header.tensors.get(place.tensor);
    if (tensor !== undefined) return { tensor, expert: place?.expert };
    throw new MillraceError(
      "tensor_missing",
      `${this.path} holds no tensor ${place?.tensor ?? name}${place === undefined ? "" : ` (${name})`}. Fetch the file again or convert the model again.`,
    );
  }

  /** All of a matrix, or one of a stack. */
  #matrixBytes(tensor: GgufTensor, expert: number | undefined): Uint8Array {
    const bytes = this.#bytes(tensor);
    if (expert === undefined) return bytes;
    const each = bytes.length / tensor.shape[0]!;
    return bytes.subarray(expert * each, (expert + 1) * each);
  }

  #floats(name: string): Float32Array {
    const tensor = this.#header.tensors.get(name)!;
    return widenFloats(this.#bytes(tensor), this.#floatTypeOf(tensor));
  }

  #floatTypeOf(tensor: GgufTensor): FloatDtype {
    const dtype = floatDtypes[tensor.type.name];
    if (dtype === undefined) throw this.#unreadable(tensor, "a vector of F32, F16 or BF16");
    return dtype;
  }

  #bytes(tensor: GgufTensor): Uint8Array {
    const { path, sizeBytes } = tensor.file;
    const file = this.#files.get(path) ?? this.#mapFile(path);
    this.#files.set(path, file);
    const { buffer } = file;
    if (buffer.byteLength !== sizeBytes) {
      throw new MillraceError(
        "invalid_model_file",
        `${path} had ${sizeBytes} bytes when its header was read and has ${buffer.byteLength} now. Do not change a model in use; start again.`,
      );
    }
    return new Uint8Array(buffer, tensor.offset, tensor.sizeBytes);
  }

  #badShape({ name, shape }: GgufTensor, dimensions: number): MillraceError {
    const what = [
      "",
      "a vector has one dimension",
      "a matrix has two dimensions",
      "a stack of experts has three",
    ];
    return new MillraceError(
      "invalid_model_file",
      `${name} has shape [${shape.join(", ")}]; ${what[dimensions]}. Fetch the file again or convert the model again.`,
    );
  }

  #unreadable(tensor: GgufTensor, wanted: string): MillraceError {
    return new MillraceError(
      "unsupported_format",
      `${tensor.name} is ${tensor.type.name} [${tensor.shape.join(", ")}]; ${wanted} is read here. ${otherFiles}`,
    );
  }
}

/** The type of most bytes among the layers' matrices. */
function mainLinearType(header: GgufHeader): string {
  const bytes = new Map<string, number>();
  for (const { name, shape, type, sizeBytes } of header.tensors.values()) {
    if (name.startsWith("blk.") && shape.length >= 2)
      bytes.set(type.name, (bytes.get(type.name) ?? 0) + sizeBytes);
  }
  return [...bytes].toSorted((a, b) => b[1] - a[1])[0]?.[0] ?? "without layers";
}
