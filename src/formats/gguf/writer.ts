import { invariant } from "../../base/invariant.ts";
import { product } from "../safetensors.ts";
import { createTensorFile, type TensorFile, type TensorLayout } from "../tensor-file.ts";
import { encodeField, encodeString, encodeU32, encodeU64, type GgufFields } from "./fields.ts";
import { ggmlTypeNumber, ggmlTypes } from "./tensor-types.ts";

/** Name, ggml type ("Q8_0") and shape, outermost dimension first, of a tensor to write. */
export interface GgufTensorSpec {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
}

/** `general.alignment` of a file that names none. */
const alignment = 32;

/**
 * Begins a GGUF file, version 3, little-endian. The last tensor is padded like the others, as llama.cpp does. The file
 * appears under its name at `commit`. Throws `disk_full` or `output_unwritable`.
 */
export function createGguf(
  path: string,
  fields: GgufFields,
  tensors: readonly GgufTensorSpec[],
  { isResumed = false }: { readonly isResumed?: boolean } = {},
): TensorFile {
  return createTensorFile(path, layOut(fields, tensors), isResumed);
}

/** Bytes of a tensor. The last dimension must hold whole blocks. */
export function ggufTensorBytes({ name, type, shape }: GgufTensorSpec): number {
  const { blockSize, blockBytes } = ggmlTypes[ggmlTypeNumber(type)]!;
  const count = product(shape);
  invariant(count !== undefined && shape.at(-1)! % blockSize === 0, `${name} holds whole blocks of ${type}`);
  return (count / blockSize) * blockBytes;
}

function layOut(fields: GgufFields, tensors: readonly GgufTensorSpec[]): TensorLayout {
  const parts = [
    new TextEncoder().encode("GGUF"),
    encodeU32(3),
    encodeU64(tensors.length),
    encodeU64(fields.length),
    ...fields.flatMap(([key, field]) => [...encodeString(key), ...encodeField(field)]),
  ];
  const places = new Map<string, { readonly offset: number; readonly size: number }>();
  let offset = 0;
  for (const tensor of tensors) {
    const { name, type, shape } = tensor;
    invariant(!places.has(name) && Buffer.byteLength(name) < 64, `${name} is short and given once`);
    const size = ggufTensorBytes(tensor);
    places.set(name, { offset, size });
    parts.push(...encodeString(name), encodeU32(shape.length), ...shape.toReversed().map(encodeU64));
    parts.push(encodeU32(ggmlTypeNumber(type)), encodeU64(offset));
    offset = aligned(offset + size);
  }
  const written = parts.reduce((sum, part) => sum + part.length, 0);
  const header = new Uint8Array(aligned(written));
  let at = 0;
  for (const part of parts) {
    header.set(part, at);
    at += part.length;
  }
  return { header, places, sizeBytes: offset };
}

function aligned(size: number): number {
  return Math.ceil(size / alignment) * alignment;
}
