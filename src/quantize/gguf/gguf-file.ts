import { MillraceError } from "../../base/errors.ts";
import type { Checkpoint, TokenizerSource } from "../../formats/checkpoint.ts";
import { configFields } from "../../formats/gguf/config-fields.ts";
import { findGgufWriting, type GgufFamily, ggufArchitectures } from "../../formats/gguf/families.ts";
import { type GgufFields, text, u32 } from "../../formats/gguf/fields.ts";
import { GgufNames } from "../../formats/gguf/names.ts";
import { permuteRows } from "../../formats/gguf/row-order.ts";
import { tokenizerFields } from "../../formats/gguf/tokenizer-fields.ts";
import { type GgufTensorSpec, ggufTensorBytes } from "../../formats/gguf/writer.ts";
import { listModelParts } from "../model-parts.ts";
import type { TensorPiece } from "../output-format.ts";
import type { LinearShape } from "../scheme.ts";
import { checkGgufConfig } from "./check-gguf-config.ts";
import type { WrittenType } from "./written-types.ts";

const ropeFactorsName = "rope_freqs.weight";

/** A matrix to write and its place in the file. */
export interface GgufMatrix extends LinearShape {
  readonly tensor: string;
  readonly type: WrittenType;
  /** Bytes of the stacked experts before it. */
  readonly at: number;
  /** Height of heads whose rows are written in adjacent pairs, or 0. */
  readonly pairedHeadDim: number;
}

/** What a GGUF file of a model holds, but for its name and its types. */
export interface GgufContent {
  /** `general.name` */
  readonly name: string;
  /** `general.file_type` (llama.cpp, llama_ftype) */
  readonly fileType: (matrices: readonly GgufMatrix[]) => number;
  /** Routers are F32 whatever it says. */
  readonly typeOf: (shape: LinearShape, tensor: string) => WrittenType;
  /** In place of the model's own, or null. */
  readonly tokenizer: TokenizerSource | null;
}

/** All that is known of a file before the first weight is written. */
export class GgufFile {
  readonly fields: GgufFields;
  readonly tensors: readonly GgufTensorSpec[];
  /** By module. */
  readonly matrices: ReadonlyMap<string, GgufMatrix>;
  /** Rows that are written at a time are a multiple of this. */
  readonly rowUnit: number;
  readonly hasTokenizer: boolean;
  /** What the user should know. */
  readonly notes: readonly string[];
  /** Tensors of no module. */
  readonly constants: readonly TensorPiece[];
  readonly #family: GgufFamily;
  readonly #names: GgufNames;
  readonly #headDim: number;

  /** Throws `unsupported_architecture` or `unsupported_format`. */
  constructor(checkpoint: Checkpoint, { name, fileType, typeOf, tokenizer }: GgufContent) {
    const { config, path } = checkpoint;
    const writing = findGgufWriting(config.architecture);
    if (writing === undefined) {
      throw new MillraceError(
        "unsupported_architecture",
        `${path} is a ${config.architecture}; GGUF files of ${ggufArchitectures.join(", ")} are written. Keep the safetensors folder.`,
      );
    }
    const { family } = writing;
    this.#family = family;
    this.#names = new GgufNames(family.modules);
    this.#headDim = config.headDim;
    this.rowUnit = family.isPermuted ? config.headDim : 1;
    const parts = listModelParts(checkpoint);
    const matrices = [...parts.dense, ...parts.linears].map((shape) => this.#placeMatrix(shape, typeOf));
    this.matrices = new Map(matrices.map((matrix) => [matrix.module, matrix]));
    const described = configFields(config, writing.name, path);
    const { ropeFactors } = described;
    this.constants =
      ropeFactors === null ? [] : [{ name: ropeFactorsName, data: bytesOf(ropeFactors), at: 0 }];
    const source = tokenizer ?? checkpoint.tokenizer();
    this.hasTokenizer = source !== null;
    this.fields = [
      ...described.fields,
      ["general.name", text(name)],
      ["general.file_type", u32(fileType(matrices))],
      ["general.quantization_version", u32(2)],
      ...(source === null ? [] : tokenizerFields(source, config.vocabSize)),
    ];
    const vectors = parts.vectors.map((vector) => ({
      name: this.#placeOf(vector.name),
      length: vector.length,
    }));
    const factors = ropeFactors === null ? [] : [{ name: ropeFactorsName, length: ropeFactors.length }];
    this.tensors = [
      ...matrixSpecs(matrices, config.experts?.numExperts ?? 0),
      ...[...vectors, ...factors].map((own) => ({ name: own.name, type: "F32", shape: [own.length] })),
    ];
    this.notes = checkGgufConfig(config, described.fields, this.tensors, ropeFactors);
  }

  /** Bytes of all tensors. */
  get sizeBytes(): number {
    return this.tensors.reduce((sum, tensor) => sum + ggufTensorBytes(tensor), 0);
  }

  /** Rows of a matrix, from `firstRow` on, in their place and order. */
  matrixPiece(module: string, data: Uint8Array, firstRow: number): TensorPiece {
    const { tensor, type, at, cols, pairedHeadDim } = this.matrices.get(module)!;
    const rowBytes = ggufTensorBytes({ name: tensor, type, shape: [cols] });
    const ordered = pairedHeadDim === 0 ? data : permuteRows(data, rowBytes, pairedHeadDim);
    return { name: tensor, data: ordered, at: at + firstRow * rowBytes };
  }

  /** A norm or a bias by its full name. */
  vectorPiece(name: string, stored: Float32Array): TensorPiece {
    const { normOffset } = this.#family;
    const isOffset = normOffset !== 0 && name.endsWith("norm.weight");
    const values = isOffset ? stored.map((x) => x + normOffset) : stored;
    const bytes = bytesOf(values);
    const isPaired = this.#family.isPermuted && isQueryOrKey(name.replace(/\.bias$/, ""));
    return {
      name: this.#placeOf(name),
      data: isPaired ? permuteRows(bytes, 4, this.#headDim) : bytes,
      at: 0,
    };
  }

  #placeMatrix(shape: LinearShape, typeOf: GgufContent["typeOf"]): GgufMatrix {
    const { module, rows, cols } = shape;
    const place = this.#names.find(`${module}.weight`);
    if (place === undefined) throw noPlace(`${module}.weight`);
    const { tensor, expert = 0 } = place;
    const type = isRouter(tensor) ? "F32" : typeOf(shape, tensor);
    const each = ggufTensorBytes({ name: tensor, type, shape: [rows, cols] });
    const pairedHeadDim = this.#family.isPermuted && isQueryOrKey(module) ? this.#headDim : 0;
    return { ...shape, tensor, type, at: expert * each, pairedHeadDim };
  }

  #placeOf(name: string): string {
    const place = this.#names.find(name);
    if (place === undefined) throw noPlace(name);
    return place.tensor;
  }
}

export function isRouter(tensor: string): boolean {
  return tensor.includes("ffn_gate_inp");
}

/** One for each tensor of the file: experts are stacked. Throws where the experts of a stack differ in type. */
function matrixSpecs(matrices: readonly GgufMatrix[], numExperts: number): GgufTensorSpec[] {
  const specs = new Map<string, GgufTensorSpec>();
  for (const { module, tensor, type, rows, cols } of matrices) {
    const isStack = module.includes(".experts.");
    const earlier = specs.get(tensor);
    if (earlier === undefined) {
      specs.set(tensor, { name: tensor, type, shape: isStack ? [numExperts, rows, cols] : [rows, cols] });
    } else if (earlier.type !== type) {
      throw new MillraceError(
        "unsupported_format",
        `${module} would be ${type} in a stack of ${earlier.type} experts; a stack has one type. Give --dtype bfloat16 or q8_0.`,
        { param: "--dtype" },
      );
    }
  }
  return [...specs.values()];
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function isQueryOrKey(module: string): boolean {
  return /\.self_attn\.[qk]_proj$/.test(module);
}

function noPlace(name: string): MillraceError {
  return new MillraceError(
    "unsupported_format",
    `The model has a tensor ${name} that GGUF files of its family have no place for. Keep the safetensors folder.`,
  );
}
