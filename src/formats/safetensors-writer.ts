import { invariant } from "../base/invariant.ts";
import { dtypeBits, product, safetensorsSize } from "./safetensors.ts";
import { createTensorFile, type TensorFile, type TensorLayout } from "./tensor-file.ts";

/** Name, type and shape of a tensor to write. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

export interface SafetensorsOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Go on with what a suspended or killed run left, if its header is the same. */
  readonly isResumed?: boolean;
}

/**
 * Begins a safetensors file. Tensors lie in `orderTensors`' order. The file appears under its name at `commit`.
 * Throws `disk_full` or `output_unwritable`.
 */
export function createSafetensors(
  path: string,
  tensors: readonly TensorSpec[],
  { metadata = { format: "pt" }, isResumed = false }: SafetensorsOptions = {},
): TensorFile {
  return createTensorFile(path, layOut(orderTensors(tensors), metadata), isResumed);
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

function layOut(tensors: readonly TensorSpec[], metadata: Readonly<Record<string, string>>): TensorLayout {
  const places = new Map<string, { readonly offset: number; readonly size: number }>();
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
  return { header: encodeHeader(entries), places, sizeBytes: offset };
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
