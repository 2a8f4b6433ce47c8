import { invariant } from "../base/invariant.ts";
import { openPartialFile, type PartialFile } from "../base/write-file.ts";
import { dtypeBits, product, safetensorsSize } from "./safetensors.ts";

/** Name, type and shape of a tensor to write. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** A safetensors file in the making. Every byte of every tensor is written once, in any order. */
export interface SafetensorsWriter {
  /** Whether the file goes on from an earlier run's, with the same header. */
  readonly isResumed: boolean;
  /** Bytes of a tensor from `at` on, little-endian. Throws `disk_full` or `output_unwritable`. */
  write(name: string, data: Uint8Array, at?: number): void;
  /** What an earlier run wrote of a tensor, in pieces; it then counts as written. Only where `isResumed`. */
  keep(name: string, onPiece: (bytes: Uint8Array) => void): void;
  /** Takes back that a tensor was written. */
  reset(name: string): void;
  /** Gives the file its name; all tensors must have been written. */
  commit(): void;
  /** Removes what was not committed. */
  discard(): void;
  /** Closes what was not committed and leaves it for a run that resumes. */
  suspend(): void;
}

export interface SafetensorsOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Go on with what a suspended or killed run left, if its header is the same. */
  readonly isResumed?: boolean;
}

/** Bytes that `keep` reads at a time. */
const pieceBytes = 1 << 20;

/**
 * Begins a safetensors file: all sizes are known before a value is computed, so the header is written first and each
 * tensor goes to its offset. Tensors lie in `orderTensors`' order. The file appears under its name at `commit`.
 * Throws `disk_full` or `output_unwritable`.
 */
export function createSafetensors(
  path: string,
  tensors: readonly TensorSpec[],
  { metadata = { format: "pt" }, isResumed = false }: SafetensorsOptions = {},
): SafetensorsWriter {
  const { header, places } = layOut(orderTensors(tensors), metadata);
  const { file, isSame } = openFor(path, header, isResumed);
  const left = new Map([...places].map(([name, { size }]) => [name, size]));
  const placeOf = (name: string): Place => {
    const place = places.get(name);
    invariant(place !== undefined, `${name} is a tensor of the file`);
    return place;
  };
  const writer: SafetensorsWriter = {
    isResumed: isSame,
    write: (name, data, at = 0) => {
      const place = placeOf(name);
      const remaining = left.get(name)! - data.length;
      invariant(at + data.length <= place.size && remaining >= 0, `${name} has ${place.size} bytes`);
      left.set(name, remaining);
      file.write(data, header.length + place.offset + at);
    },
    keep: (name, onPiece) => {
      const { offset, size } = placeOf(name);
      for (let at = 0; at < size; at += pieceBytes)
        onPiece(file.read(header.length + offset + at, Math.min(pieceBytes, size - at)));
      left.set(name, 0);
    },
    reset: (name) => {
      left.set(name, placeOf(name).size);
    },
    commit: () => {
      for (const [name, bytes] of left) invariant(bytes === 0, `${name} lacks ${bytes} bytes`);
      file.commit();
    },
    discard: () => file.discard(),
    suspend: () => file.suspend(),
  };
  try {
    if (!isSame) file.write(header, 0);
  } catch (error) {
    file.discard();
    throw error;
  }
  return writer;
}

/** The file, and whether it holds the same header already. One with another header is written over. */
function openFor(
  path: string,
  header: Uint8Array,
  isResumed: boolean,
): { readonly file: PartialFile; readonly isSame: boolean } {
  if (isResumed) {
    const file = openPartialFile(path, { isResumed });
    if (Buffer.compare(file.read(0, header.length), header) === 0) return { file, isSame: true };
    file.suspend();
  }
  return { file: openPartialFile(path), isSame: false };
}

/** Writes a whole safetensors file from tensors in memory. Throws `disk_full` or `output_unwritable`. */
export function writeSafetensors(
  path: string,
  tensors: readonly (TensorSpec & { readonly data: Uint8Array })[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): void {
  const writer = createSafetensors(path, tensors, { metadata });
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
