import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { MillraceError } from "../base/errors.ts";
import { type Progress, silentProgress } from "../base/progress.ts";
import { makeFolder } from "../base/write-file.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { withColumnsInOrder } from "../formats/dequantize.ts";
import { configFields } from "../formats/gguf/config-fields.ts";
import { findGgufWriting, type GgufFamily, ggufArchitectures } from "../formats/gguf/families.ts";
import { type GgufFields, text, u32 } from "../formats/gguf/fields.ts";
import { GgufNames } from "../formats/gguf/names.ts";
import { permuteRows } from "../formats/gguf/row-order.ts";
import { tokenizerFields } from "../formats/gguf/tokenizer-fields.ts";
import { type GgufTensorSpec, ggufTensorBytes } from "../formats/gguf/writer.ts";
import { sliceRows } from "../formats/slice-rows.ts";
import { listModelParts, type ModelParts } from "../quantize/model-parts.ts";
import { checkFreeSpace } from "../quantize/output-folder.ts";
import type { LinearShape } from "../quantize/scheme.ts";
import { encodeRows, exactType, floatTypes, type WrittenType } from "./block-types.ts";
import { checkGgufConfig } from "./check-gguf-config.ts";
import type { ConversionSummary, ConvertDtype, ConvertPlan } from "./plan.ts";
import { createSplitGguf, type SplitWriter } from "./split-writer.ts";

/** Elements that are encoded at a time, so that no matrix is in memory as f32 whole. */
const bandElements = 1 << 22;

/** Columns of a block of the integer types written here. */
const blockSize = 32;

/** `general.file_type` by the type of most weights (llama.cpp, llama_ftype). */
const fileTypes: Readonly<Record<WrittenType, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  BF16: 32,
};

const ropeFactorsName = "rope_freqs.weight";

/** A matrix to write: its place in the file and how it gets there. */
interface MatrixPlan extends LinearShape {
  readonly tensor: string;
  /** Bytes of the stacked experts before it. */
  readonly at: number;
  readonly type: WrittenType;
  /** Height of heads whose rows are written in adjacent pairs, or 0. */
  readonly pairedHeadDim: number;
  readonly losesActivations: boolean;
}

/**
 * Writes a model as a GGUF file, or the parts of one, that llama.cpp and this engine read, a band of rows at a time. A
 * file appears under its name only when it is complete. Throws `unsupported_architecture`, `unsupported_format`,
 * `invalid_option`, `output_exists`, `output_unwritable`, `disk_full`.
 */
export async function convertToGguf(
  checkpoint: Checkpoint,
  plan: ConvertPlan,
  progress: Progress = silentProgress,
): Promise<ConversionSummary> {
  const file = planFile(checkpoint, plan);
  const { tensors } = file;
  const sizeBytes = tensors.reduce((sum, tensor) => sum + ggufTensorBytes(tensor), 0);
  makeFolder(path.dirname(plan.outPath), plan.outPath);
  checkFreeSpace(path.dirname(plan.outPath), sizeBytes);
  const writer = createSplitGguf(plan.outPath, file.fields, tensors, plan.maxShardBytes);
  try {
    await writeMatrices(checkpoint, file.matrices, writer, progress);
    writeVectors(checkpoint, file, writer);
    writer.commit();
  } finally {
    writer.discard();
  }
  progress.finish(`${tensors.length} tensors written`);
  return {
    outPath: writer.files[0]!,
    format: "gguf",
    weightFormat: `GGUF ${mainType(file.matrices)}`,
    sizeBytes,
    numTensors: tensors.length,
    notes: file.notes,
  };
}

/** All that is known of a file before the first weight is written. */
interface FilePlan {
  readonly family: GgufFamily;
  readonly fields: GgufFields;
  readonly tensors: readonly GgufTensorSpec[];
  readonly matrices: readonly MatrixPlan[];
  /** Norms and biases with their places. */
  readonly vectors: readonly { readonly name: string; readonly tensor: string; readonly length: number }[];
  readonly ropeFactors: Float32Array | null;
  /** What the user should know. */
  readonly notes: readonly string[];
}

function planFile(checkpoint: Checkpoint, { dtype, outPath, tokenizer }: ConvertPlan): FilePlan {
  const { config } = checkpoint;
  const writing = findGgufWriting(config.architecture);
  if (writing === undefined) {
    throw new MillraceError(
      "unsupported_architecture",
      `${checkpoint.path} is a ${config.architecture}; GGUF files of ${ggufArchitectures.join(", ")} are written. Keep the safetensors folder.`,
    );
  }
  const { family } = writing;
  const names = new GgufNames(family.modules);
  const parts = listModelParts(checkpoint);
  const matrices = planMatrices(checkpoint, parts, { family, names }, dtype);
  const vectors = parts.vectors.map((vector) => ({ ...vector, tensor: placeOf(names, vector.name) }));
  const described = configFields(config, writing.name, checkpoint.path);
  const { ropeFactors } = described;
  const factors = ropeFactors === null ? [] : [{ tensor: ropeFactorsName, length: ropeFactors.length }];
  const source = tokenizer ?? checkpoint.tokenizer();
  const fields: GgufFields = [
    ...described.fields,
    ["general.name", text(path.basename(outPath, ".gguf"))],
    ["general.file_type", u32(fileTypes[mainType(matrices)])],
    ["general.quantization_version", u32(2)],
    ...(source === null ? [] : tokenizerFields(source, config.vocabSize)),
  ];
  const tensors = [
    ...tensorSpecs(matrices, config.experts?.numExperts ?? 0),
    ...[...vectors, ...factors].map(({ tensor, length }) => ({ name: tensor, type: "F32", shape: [length] })),
  ];
  const notes = checkGgufConfig(config, described.fields, tensors, ropeFactors);
  if (source === null) notes.push("The model has no tokenizer, so none was written.");
  if (matrices.some(({ losesActivations }) => losesActivations)) {
    notes.push(
      "The model asks for int8 activations per token, which GGUF has no key for; its weights are the same.",
    );
  }
  return { family, fields, tensors, matrices, vectors, ropeFactors, notes };
}

function planMatrices(
  checkpoint: Checkpoint,
  parts: ModelParts,
  { family, names }: { readonly family: GgufFamily; readonly names: GgufNames },
  dtype: ConvertDtype,
): MatrixPlan[] {
  return [...parts.dense, ...parts.linears].map((shape) => {
    const place = names.find(`${shape.module}.weight`);
    if (place === undefined) throw noPlace(`${shape.module}.weight`);
    const isRouter = place.tensor.includes("ffn_gate_inp");
    const type = isRouter ? "F32" : chooseType(checkpoint, shape, dtype);
    const each = ggufTensorBytes({ name: place.tensor, type, shape: [shape.rows, shape.cols] });
    const pairedHeadDim = family.isPermuted && isQueryOrKey(shape.module) ? checkpoint.config.headDim : 0;
    const form = checkpoint.form(shape.module);
    const losesActivations = form.kind === "integer" && form.activations === "int8-token";
    const { tensor, expert = 0 } = place;
    return { ...shape, tensor, at: expert * each, type, pairedHeadDim, losesActivations };
  });
}

const written: Readonly<Record<Exclude<ConvertDtype, "auto">, WrittenType>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  q8_0: "Q8_0",
  q4_0: "Q4_0",
  q4_1: "Q4_1",
  q5_0: "Q5_0",
  q5_1: "Q5_1",
};

/** In a file of 4 or 5 bits the embedding and the head are Q8_0: their errors reach every token. */
function chooseType(checkpoint: Checkpoint, shape: LinearShape, dtype: ConvertDtype): WrittenType {
  if (dtype === "auto") {
    const exact = exactTypeOf(checkpoint, shape.module);
    if (exact !== null) return exact;
    throw new MillraceError(
      "unsupported_format",
      `${shape.module} (${checkpoint.weightFormat}) has no GGUF type that holds it exactly. Give --dtype float16 or bfloat16 to dequantise it, or --dtype q8_0 to round it again.`,
      { param: "--dtype" },
    );
  }
  const isInLayer = shape.module.startsWith("model.layers.");
  const asked = written[dtype];
  const type = asked.startsWith("Q") && !isInLayer ? "Q8_0" : asked;
  if (type.startsWith("Q") && shape.cols % blockSize !== 0) {
    throw new MillraceError(
      "unsupported_format",
      `${shape.module} has ${shape.cols} columns; ${type} takes a multiple of ${blockSize}. Use --dtype bfloat16 for this model.`,
      { param: "--dtype" },
    );
  }
  return type;
}

/** Of floats the header tells; of integers, whether their scales fit 16 bits. */
function exactTypeOf(checkpoint: Checkpoint, module: string): WrittenType | null {
  const form = checkpoint.form(module);
  if (form.kind === "dense") return floatTypes[form.dtype];
  return exactType(withColumnsInOrder(checkpoint.linear(module)));
}

/** One for each tensor of the file: experts are stacked. Throws where the experts of a stack differ in type. */
function tensorSpecs(matrices: readonly MatrixPlan[], numExperts: number): GgufTensorSpec[] {
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

async function writeMatrices(
  checkpoint: Checkpoint,
  matrices: readonly MatrixPlan[],
  file: SplitWriter,
  progress: Progress,
): Promise<void> {
  let done = 0;
  progress.start(
    "convert",
    matrices.reduce((sum, { rows, cols }) => sum + rows * cols, 0),
  );
  for (const { module, tensor, rows, cols, at, type, pairedHeadDim } of matrices) {
    const weight = withColumnsInOrder(checkpoint.linear(module));
    const unit = Math.max(1, pairedHeadDim);
    const band = Math.max(unit, Math.floor(bandElements / cols / unit) * unit);
    let to = at;
    for (let row = 0; row < rows; row += band) {
      const count = Math.min(band, rows - row);
      const encoded = encodeRows(sliceRows(weight, row, count), type);
      file.write(
        tensor,
        pairedHeadDim === 0 ? encoded : permuteRows(encoded, encoded.length / count, pairedHeadDim),
        to,
      );
      to += encoded.length;
      done += count * cols;
      progress.update(done, module);
      await nextTurn();
    }
    checkpoint.dropPages();
  }
}

function writeVectors(
  checkpoint: Checkpoint,
  { family, vectors, ropeFactors }: FilePlan,
  writer: SplitWriter,
): void {
  const { normOffset, isPermuted } = family;
  for (const { name, tensor } of vectors) {
    const stored = checkpoint.vector(name);
    const isOffset = normOffset !== 0 && name.endsWith("norm.weight");
    const values = isOffset ? stored.map((x) => x + normOffset) : stored;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const isPaired = isPermuted && isQueryOrKey(name.replace(/\.bias$/, ""));
    writer.write(tensor, isPaired ? permuteRows(bytes, 4, checkpoint.config.headDim) : bytes);
  }
  if (ropeFactors !== null) writer.write(ropeFactorsName, new Uint8Array(ropeFactors.buffer));
}

function mainType(matrices: readonly MatrixPlan[]): WrittenType {
  const counts = new Map<WrittenType, number>();
  for (const { module, type, rows, cols } of matrices) {
    const isInLayer = module.startsWith("model.layers.");
    counts.set(type, (counts.get(type) ?? 0) + (isInLayer ? rows * cols : 0));
  }
  return [...counts].toSorted((a, b) => b[1] - a[1])[0]![0];
}

function isQueryOrKey(module: string): boolean {
  return /\.self_attn\.[qk]_proj$/.test(module);
}

function placeOf(names: GgufNames, name: string): string {
  const place = names.find(name);
  if (place === undefined) throw noPlace(name);
  return place.tensor;
}

function noPlace(name: string): MillraceError {
  return new MillraceError(
    "unsupported_format",
    `The model has a tensor ${name} that GGUF files of its family have no place for. Keep the safetensors folder.`,
  );
}
