import { invariant } from "../../base/invariant.ts";
import { openPartialFile } from "../../base/write-file.ts";
import { product } from "../safetensors.ts";
import { encodeField, encodeString, encodeU32, encodeU64, type GgufFields } from "./fields.ts";
import { ggmlTypeNumber, ggmlTypes } from "./tensor-types.ts";

/** Name, ggml type ("Q8_0") and shape, outermost dimension first, of a tensor to write. */
export interface GgufTensorSpec {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
}

/** A GGUF file in the making. Every byte of every tensor is written once, in any order. */
export interface GgufWriter {
  /** Bytes of a tensor from `at` on, counted from its start. Throws `disk_full` or `output_unwritable`. */
  write(name: string, data: Uint8Array, at?: number): void;
  /** Gives the file its name; all tensors must have been written. */
  commit(): void;
  /** Removes what was not committed. */
  discard(): void;
}

/** `general.alignment` of a file that names none. */
const alignment = 32;

/**
 * Begins a GGUF file, version 3, little-endian: the header is written first and each tensor goes to its offset. The
 * file appears under its name at `commit`. Throws `disk_full` or `output_unwritable`.
 */
export function createGguf(path: string, fields: GgufFields, tensors: readonly GgufTensorSpec[]): GgufWriter {
  const { header, places, sizeBytes } = layOut(fields, tensors);
  const file = openPartialFile(path);
  const left = new Map([...places].map(([name, { size }]) => [name, size]));
  const writer: GgufWriter = {
    write: (name, data, at = 0) => {
      const place = places.get(name);
      invariant(place !== undefined && at + data.length <= place.size, `${name} takes ${data.length} bytes`);
      left.set(name, left.get(name)! - data.length);
      file.write(data, header.length + place.offset + at);
    },
    commit: () => {
      for (const [name, bytes] of left) invariant(bytes === 0, `${name} lacks ${bytes} bytes`);
      file.commit();
    },
    discard: () => file.discard(),
  };
  try {
    file.write(header, 0);
    // The last tensor is padded like the others, as llama.cpp does.
    if (sizeBytes > 0) file.write(Uint8Array.of(0), header.length + sizeBytes - 1);
  } catch (error) {
    file.discard();
    throw error;
  }
  return writer;
}

/** Bytes of a tensor. The last dimension must hold whole blocks. */
export function ggufTensorBytes({ name, type, shape }: GgufTensorSpec): number {
  const { blockSize, blockBytes } = ggmlTypes[ggmlTypeNumber(type)]!;
  const count = product(shape);
  invariant(count !== undefined && shape.at(-1)! % blockSize === 0, `${name} holds whole blocks of ${type}`);
  return (count / blockSize) * blockBytes;
}

interface Place {
  /** Counted from the end of the header. */
  readonly offset: number;
  readonly size: number;
}

function layOut(
  fields: GgufFields,
  tensors: readonly GgufTensorSpec[],
): { readonly header: Uint8Array; readonly places: ReadonlyMap<string, Place>; readonly sizeBytes: number } {
  const parts = [
    new TextEncoder().encode("GGUF"),
    encodeU32(3),
    encodeU64(tensors.length),
    encodeU64(fields.length),
    ...fields.flatMap(([key, field]) => [...encodeString(key), ...encodeField(field)]),
  ];
  const places = new Map<string, Place>();
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
