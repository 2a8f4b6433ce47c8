import { MillraceError } from "../../base/errors.ts";
import { openFile } from "../file-access.ts";
import { product } from "../safetensors.ts";
import { GgufCursor } from "./cursor.ts";
import { type GgufMetadata, type GgufValue, readGgufValue } from "./metadata.ts";
import { type GgmlType, ggmlTypes, otherFiles, unplacedTypes } from "./tensor-types.ts";

/** One tensor of a GGUF file. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Outermost dimension first; the file has it reversed. */
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** Where it lies: a model may be split into several files. */
  readonly file: GgufFile;
}

export interface GgufFile {
  readonly path: string;
  readonly sizeBytes: number;
}

export interface GgufHeader {
  readonly path: string;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Of all files. */
  readonly sizeBytes: number;
}

/** Limits of ggml (GGML_MAX_DIMS, GGML_MAX_NAME). */
const maxDimensions = 4;
const maxTensorNameBytes = 64;

/** The least that one entry takes: name length 8, dimension count 4, one dimension 8, type 4, offset 8. */
const minTensorBytes = 32;
/** The least that one entry takes: key length 8, type 4, value 1. */
const minMetadataBytes = 13;

/** Of the data section where metadata names none (GGUF v3, `general.alignment`). */
const defaultAlignment = 32;

/**
 * Reads and checks the header of a GGUF file, version 2 or 3, without touching the weights: counts, lengths,
 * repeated names, alignment, offsets, overlaps and ends.
 * Throws `file_not_found`, `invalid_model_file`, or `unsupported_format` for another version, byte order or an
 * unknown tensor type.
 */
export function readGgufHeader(path: string): GgufHeader {
  const file = openFile(path);
  try {
    const cursor = new GgufCursor(file);
    const magic = new TextDecoder("latin1").decode(cursor.bytes(4));
    if (magic !== "GGUF") throw cursor.damaged(`does not begin with GGUF but with ${JSON.stringify(magic)}`);
    checkVersion(cursor.u32(), path);
    const numTensors = cursor.count(minTensorBytes, "its list of tensors");
    const metadata = readMetadata(cursor, cursor.count(minMetadataBytes, "its list of metadata"));
    const tensors = readTensors(cursor, numTensors, alignmentOf(metadata, cursor), file);
    return { path, metadata, tensors, sizeBytes: file.sizeBytes };
  } finally {
    file.close();
  }
}

function checkVersion(version: number, path: string): void {
  if (version === 2 || version === 3) return;
  const isSwapped = version === 0x02000000 || version === 0x03000000;
  throw new MillraceError(
    "unsupported_format",
    `${path} is GGUF ${isSwapped ? "in big-endian byte order" : `version ${version}`}; versions 2 and 3 in little-endian order are read. Convert the model again with a current converter.`,
  );
}

function readMetadata(cursor: GgufCursor, count: number): GgufMetadata {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < count; i += 1) {
    const key = cursor.string();
    if (metadata.has(key))
      throw cursor.damaged(`has the metadata key ${JSON.stringify(key.slice(0, 80))} twice`);
    metadata.set(key, readGgufValue(cursor, cursor.u32()));
  }
  return metadata;
}

function alignmentOf(metadata: GgufMetadata, cursor: GgufCursor): number {
  const alignment = metadata.get("general.alignment") ?? defaultAlignment;
  if (typeof alignment === "number" && alignment >= 8 && Number.isInteger(Math.log2(alignment)))
    return alignment;
  const seen = typeof alignment === "object" ? "a list" : String(alignment).slice(0, 40);
  throw cursor.damaged(`has a general.alignment of ${seen}; it must be a power of two from 8`);
}

function readTensors(
  cursor: GgufCursor,
  count: number,
  alignment: number,
  { path, sizeBytes: fileSizeBytes }: GgufFile,
): Map<string, GgufTensor> {
  const file = { path, sizeBytes: fileSizeBytes };
  const relative: Omit<GgufTensor, "file">[] = [];
  for (let i = 0; i < count; i += 1) relative.push(readTensorInfo(cursor, alignment));
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  let end = dataStart;
  for (const info of relative.toSorted((a, b) => a.offset - b.offset)) {
    const tensor = { ...info, file, offset: dataStart + info.offset };
    if (tensors.has(tensor.name)) throw cursor.damaged(`has the tensor ${tensor.name} twice`);
    if (tensor.offset < end)
      throw cursor.damaged(`has a tensor ${tensor.name} that overlaps the one before it`);
    end = tensor.offset + tensor.sizeBytes;
    if (end > fileSizeBytes) {
      throw cursor.damaged(`has ${fileSizeBytes} bytes, but its tensor ${tensor.name} ends at byte ${end}`);
    }
    tensors.set(tensor.name, tensor);
  }
  return tensors;
}

function readTensorInfo(cursor: GgufCursor, alignment: number): Omit<GgufTensor, "file"> {
  const name = cursor.string();
  if (name.length > maxTensorNameBytes)
    throw cursor.damaged(
      `has a tensor name of ${name.length} characters; at most ${maxTensorNameBytes} are allowed`,
    );
  const numDimensions = cursor.u32();
  if (numDimensions < 1 || numDimensions > maxDimensions) {
    throw cursor.damaged(
      `has a tensor ${name} of ${numDimensions} dimensions; 1 to ${maxDimensions} are allowed`,
    );
  }
  const shape: number[] = [];
  for (let i = 0; i < numDimensions; i += 1) shape.unshift(cursor.u64());
  const typeId = cursor.u32();
  const offset = cursor.u64();
  const type = ggmlTypes[typeId];
  if (type === undefined) {
    throw new MillraceError(
      "unsupported_format",
      `${cursor.path} has a tensor ${name} of ggml type ${unplacedTypes[typeId] ?? typeId}, which is not read here. ${otherFiles}`,
    );
  }
  const count = product(shape);
  if (count === undefined || count === 0)
    throw cursor.damaged(`has a tensor ${name} of shape [${shape.join(", ")}]`);
  const columns = shape.at(-1)!;
  if (columns % type.blockSize !== 0) {
    throw cursor.damaged(
      `has a tensor ${name} of ${columns} columns; ${type.name} needs a multiple of ${type.blockSize}`,
    );
  }
  if (offset % alignment !== 0)
    throw cursor.damaged(`has a tensor ${name} at offset ${offset}, not a multiple of ${alignment}`);
  return { name, type, shape, offset, sizeBytes: (count / type.blockSize) * type.blockBytes };
}
