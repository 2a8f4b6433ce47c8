import { invariant } from "../base/invariant.ts";
import { openPartialFile } from "../base/write-file.ts";
import { dtypeBits, product, safetensorsSize } from "./safetensors.ts";

/** Name, type and shape of a tensor to write. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** A safetensors file in the making. Its tensors are written in any order, each once. */
export interface SafetensorsWriter {
  /** All bytes of a tensor, little-endian. Throws `disk_full` or `output_unwritable`. */
  write(name: string, data: Uint8Array): void;
  /** Gives the file its name; all tensors must have been written. */
  commit(): void;
  /** Removes what was not committed. */
  discard(): void;
}

/**
 * Begins a safetensors file: all sizes are known before a value is computed, so the header is written first and each
 * tensor goes to its offset. Tensors lie in `orderTensors`' order. The file appears under its name at `commit`.
 * Throws `disk_full` or `output_unwritable`.
 */
export function createSafetensors(
  path: string,
  tensors: readonly TensorSpec[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): SafetensorsWriter {
  const { header, places } = layOut(orderTensors(tensors), metadata);
  const file = openPartialFile(path);
  const waiting = new Set(places.keys());
  const writer: SafetensorsWriter = {
    write: (name, data) => {
      const place = places.get(name);
      invariant(place !== undefined && waiting.delete(name), `${name} is written once`);
      invariant(data.length === place.size, `${name} has ${place.size} bytes, not ${data.length}`);
      file.write(data, header.length + place.offset);
    },
    commit: () => {
      invariant(waiting.size === 0, `all tensors are written, ${[...waiting][0] ?? ""} too`);
      file.commit();
    },
    discard: () => file.discard(),
  };
  try {
    file.write(header, 0);
  } catch (error) {
    file.discard();
    throw error;
  }
  return writer;
}

/** Writes a whole safetensors file from tensors in memory. Throws `disk_full` or `output_unwritable`. */
export function writeSafetensors(
  path: string,
  tensors: readonly (TensorSpec & { readonly data: Uint8Array })[],
  metadata?: Readonly<Record<string, string>>,
): void {
  const writer = createSafetensors(path, tensors, metadata);
  try {
    for (const { name, data } of tensors) writer.write(name, data);
    writer.commit();
  } finally {
    writer.discard();
  }
}

/** Bytes of all tensors, without the header. */
export function totalBytes(tensors: readonly TensorSpec[]): number {
  return tensors.reduce((total, tensor) => total + tensorSize(tensor), 0);
}

function tensorSize({ name, dtype, shape }: TensorSpec): number {
  const count = product(shape);
  const size = count === undefined ? undefined : safetensorsSize(dtype, count);
  invariant(size !== undefined, `tensor ${name} has a type and a shape that safetensors can hold`);
  return size;
}

/** Wide elements first, then by name, as the reference writer does: every tensor stays aligned. */
function orderTensors(tensors: readonly TensorSpec[]): TensorSpec[] {
  const bits = (tensor: TensorSpec): number => dtypeBits[tensor.dtype] ?? 0;
  return tensors.toSorted((a, b) => bits(b) - bits(a) || (a.name < b.name ? -1 : 1));
}

interface Place {
  /** Counted from the end of the header. */
  readonly offset: number;
  readonly size: number;
}

function layOut(
  tensors: readonly TensorSpec[],
  metadata: Readonly<Record<string, string>>,
): { readonly header: Uint8Array; readonly places: ReadonlyMap<string, Place> } {
  const places = new Map<string, Place>();
  const entries: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    invariant(!places.has(name), `the name ${name} is given once`);
    const size = tensorSize(tensor);
    places.set(name, { offset, size });
    entries[name] = { dtype, shape, data_offsets: [offset, offset + size] };
    offset += size;
  }
  return { header: encodeHeader(entries), places };
}

/** Eight bytes of length, then JSON, padded with spaces so that the tensors begin at a multiple of eight. */
function encodeHeader(entries: Readonly<Record<string, unknown>>): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(entries));
  const length = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + length).fill(0x20);
  new DataView(out.buffer).setBigUint64(0, BigInt(length), true);
  out.set(json, 8);
  return out;
}
