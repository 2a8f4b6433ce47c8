import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { invariant } from "../base/invariant.ts";

/** One tensor of the file to write. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: "BF16" | "I8" | "I32" | "I64";
  readonly shape: readonly number[];
}

/** A safetensors file whose tensors may be written in any order, each once. */
export interface WeightFile {
  readonly sizeBytes: number;
  write(name: string, data: Uint8Array): void;
  /** Flushes and closes; all tensors must have been written. */
  finish(): void;
  /** Closes without checks, after an error. */
  abandon(): void;
}

export type WeightFileOpener = (path: string, tensors: readonly TensorSpec[]) => WeightFile;

const elementBytes: Readonly<Record<TensorSpec["dtype"], number>> = { BF16: 2, I8: 1, I32: 4, I64: 8 };

/**
 * Creates a safetensors file: all sizes are known before a value is computed, so the header is written first and
 * each tensor goes to its offset. Tensors lie by falling element size, then by name, as the reference writer does.
 */
export const openWeightFile: WeightFileOpener = (path, tensors) => {
  const { header, places, sizeBytes } = layOut(tensors);
  const file = openSync(path, "wx");
  const waiting = new Set(places.keys());
  const write = (data: Uint8Array, position: number): void => {
    for (let done = 0; done < data.length; )
      done += writeSync(file, data, done, data.length - done, position + done);
  };
  try {
    write(header, 0);
  } catch (error) {
    closeSync(file);
    throw error;
  }
  return {
    sizeBytes,
    write(name, data) {
      const place = places.get(name);
      invariant(place !== undefined && waiting.delete(name), `${name} is written once`);
      invariant(data.length === place.size, `${name} has ${place.size} bytes`);
      write(data, header.length + place.offset);
    },
    finish() {
      invariant(waiting.size === 0, `all tensors are written, ${[...waiting][0] ?? ""} too`);
      fsyncSync(file);
      closeSync(file);
    },
    abandon() {
      closeSync(file);
    },
  };
};

/** Bytes of all tensors, without the header. */
export function totalBytes(tensors: readonly TensorSpec[]): number {
  return tensors.reduce((total, tensor) => total + tensorBytes(tensor), 0);
}

function tensorBytes({ dtype, shape }: TensorSpec): number {
  return shape.reduce((count, dimension) => count * dimension, elementBytes[dtype]);
}

interface Place {
  readonly offset: number;
  readonly size: number;
}

function layOut(tensors: readonly TensorSpec[]): {
  header: Uint8Array;
  places: Map<string, Place>;
  sizeBytes: number;
} {
  const ordered = tensors.toSorted(
    (a, b) =>
      elementBytes[b.dtype] - elementBytes[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
  const places = new Map<string, Place>();
  const entries: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const tensor of ordered) {
    const { name, dtype, shape } = tensor;
    const size = tensorBytes(tensor);
    places.set(name, { offset, size });
    entries[name] = { dtype, shape, data_offsets: [offset, offset + size] };
    offset += size;
  }
  const json = Buffer.from(JSON.stringify(entries));
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, " ");
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);
  return { header, places, sizeBytes: header.length + offset };
}
