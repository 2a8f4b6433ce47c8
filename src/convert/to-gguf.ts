import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { MillraceError } from "../base/errors.ts";
import { type Progress, silentProgress } from "../base/progress.ts";
import { makeFolder } from "../base/write-file.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { withColumnsInOrder } from "../formats/dequantize.ts";
import { sliceRows } from "../formats/slice-rows.ts";
import { GgufFile, type GgufMatrix } from "../quantize/gguf/gguf-file.ts";
import { floatTypes, type WrittenType } from "../quantize/gguf/written-types.ts";
import { listModelParts } from "../quantize/model-parts.ts";
import { checkFreeSpace } from "../quantize/output-folder.ts";
import type { TensorPiece } from "../quantize/output-format.ts";
import type { LinearShape } from "../quantize/scheme.ts";
import { encodeRows, exactType } from "./block-types.ts";
import type { ConversionSummary, ConvertDtype, ConvertPlan } from "./plan.ts";
import { createSplitGguf, type SplitWriter } from "./split-writer.ts";

/** Elements that are encoded at a time, so that no matrix is in memory as f32 whole. */
const bandElements = 1 << 22;

/** Columns of a block of the integer types written here. */
const blockSize = 32;

/** `general.file_type` by the type of most weights (llama.cpp, llama_ftype). */
const fileTypes: Readonly<Partial<Record<WrittenType, number>>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  Q6_K: 18,
  BF16: 32,
};

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
  const { outPath, dtype, tokenizer, maxShardBytes } = plan;
  const file = new GgufFile(checkpoint, {
    name: path.basename(outPath, ".gguf"),
    fileType: (matrices) => fileTypes[mainType(matrices)]!,
    typeOf: (shape) => chooseType(checkpoint, shape, dtype),
    tokenizer,
  });
  const { tensors, sizeBytes } = file;
  makeFolder(path.dirname(outPath), outPath);
  checkFreeSpace(path.dirname(outPath), sizeBytes);
  const writer = createSplitGguf(outPath, file.fields, tensors, maxShardBytes);
  try {
    await writeTensors(checkpoint, file, writer, progress);
    writer.commit();
  } finally {
    writer.discard();
  }
  progress.finish(`${tensors.length} tensors written`);
  return {
    outPath: writer.files[0]!,
    format: "gguf",
    weightFormat: `GGUF ${mainType([...file.matrices.values()])}`,
    sizeBytes,
    numTensors: tensors.length,
    notes: notesOf(checkpoint, file),
  };
}

function notesOf(checkpoint: Checkpoint, file: GgufFile): string[] {
  const notes = [...file.notes];
  if (!file.hasTokenizer) notes.push("The model has no tokenizer, so none was written.");
  const forms = [...file.matrices.keys()].map((module) => checkpoint.form(module));
  if (forms.some((form) => form.kind === "integer" && form.activations === "int8-token")) {
    notes.push(
      "The model asks for int8 activations per token, which GGUF has no key for; its weights are the same.",
    );
  }
  return notes;
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

async function writeTensors(
  checkpoint: Checkpoint,
  file: GgufFile,
  writer: SplitWriter,
  progress: Progress,
): Promise<void> {
  const matrices = [...file.matrices.values()];
  const write = ({ name, data, at }: TensorPiece): void => writer.write(name, data, at);
  let done = 0;
  progress.start(
    "convert",
    matrices.reduce((sum, { rows, cols }) => sum + rows * cols, 0),
  );
  for (const { module, rows, cols, type } of matrices) {
    const weight = withColumnsInOrder(checkpoint.linear(module));
    const unit = file.rowUnit;
    const band = Math.max(unit, Math.floor(bandElements / cols / unit) * unit);
    for (let row = 0; row < rows; row += band) {
      const count = Math.min(band, rows - row);
      write(file.matrixPiece(module, encodeRows(sliceRows(weight, row, count), type), row));
      done += count * cols;
      progress.update(done, module);
      await nextTurn();
    }
    checkpoint.dropPages();
  }
  for (const { name } of listModelParts(checkpoint).vectors)
    write(file.vectorPiece(name, checkpoint.vector(name)));
  for (const constant of file.constants) write(constant);
}

function mainType(matrices: readonly GgufMatrix[]): WrittenType {
  const counts = new Map<WrittenType, number>();
  for (const { module, type, rows, cols } of matrices) {
    const isInLayer = module.startsWith("model.layers.");
    counts.set(type, (counts.get(type) ?? 0) + (isInLayer ? rows * cols : 0));
  }
  return [...counts].toSorted((a, b) => b[1] - a[1])[0]![0];
}
