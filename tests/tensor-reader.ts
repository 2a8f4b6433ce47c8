import type { StoredTensor, TensorReader } from "../src/formats/stored-tensor.ts";

/** Tensors in memory as a checkpoint's files give them. */
export function readerOf(tensors: Readonly<Record<string, Omit<StoredTensor, "name">>>): TensorReader {
  const tensor = (name: string): StoredTensor => {
    const found = tensors[name];
    if (found === undefined) throw new Error(`no ${name}`);
    return { name, ...found };
  };
  return { has: (name) => Object.hasOwn(tensors, name), header: tensor, detail: tensor, tensor };
}

export function bytesOf(
  values: Float32Array | Uint16Array | Int32Array | Uint32Array | Int8Array,
): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
