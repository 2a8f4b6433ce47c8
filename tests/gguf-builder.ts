/** Builds small GGUF files for tests, good and bad. */

export type GgufEntry =
  | { readonly type: "u32" | "f32" | "u64"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "i32s" | "f32s"; readonly value: readonly number[] };

export interface GgufTensorEntry {
  readonly name: string;
  /** Innermost dimension first, as in the file. */
  readonly dims: readonly number[];
  readonly type: number;
  readonly data: Uint8Array;
  /** Instead of the next aligned place. */
  readonly offset?: number;
}

export interface GgufParts {
  readonly version?: number;
  readonly metadata: Readonly<Record<string, GgufEntry>> | readonly (readonly [string, GgufEntry])[];
  readonly tensors: readonly GgufTensorEntry[];
}

export const u32 = (value: number): GgufEntry => ({ type: "u32", value });
export const f32 = (value: number): GgufEntry => ({ type: "f32", value });
export const text = (value: string): GgufEntry => ({ type: "string", value });

/** The bytes of a GGUF file, version 3, alignment 32. */
export function buildGguf({ version = 3, metadata, tensors }: GgufParts): Buffer {
  const entries = Array.isArray(metadata)
    ? (metadata as readonly (readonly [string, GgufEntry])[])
    : Object.entries(metadata);
  const parts: Buffer[] = [
    Buffer.from("GGUF"),
    number32(version),
    number64(tensors.length),
    number64(entries.length),
  ];
  for (const [key, entry] of entries) parts.push(string(key), ...encode(entry));
  let end = 0;
  const data: Buffer[] = [];
  for (const tensor of tensors) {
    parts.push(string(tensor.name), number32(tensor.dims.length), ...tensor.dims.map(number64));
    parts.push(number32(tensor.type), number64(tensor.offset ?? end));
    const padded = Buffer.alloc(Math.ceil(tensor.data.length / 32) * 32);
    padded.set(tensor.data);
    data.push(padded);
    end += padded.length;
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), ...data]);
}

function encode(entry: GgufEntry): Buffer[] {
  switch (entry.type) {
    case "u32":
      return [number32(4), number32(entry.value)];
    case "f32":
      return [number32(6), float32(entry.value)];
    case "u64":
      return [number32(10), number64(entry.value)];
    case "bool":
      return [number32(7), Buffer.of(entry.value ? 1 : 0)];
    case "string":
      return [number32(8), string(entry.value)];
    case "strings":
      return [number32(9), number32(8), number64(entry.value.length), ...entry.value.map(string)];
    case "i32s":
      return [number32(9), number32(5), number64(entry.value.length), ...entry.value.map(number32)];
    case "f32s":
      return [number32(9), number32(6), number64(entry.value.length), ...entry.value.map(float32)];
  }
}

function number32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0);
  return out;
}

function number64(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
}

function float32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeFloatLE(value);
  return out;
}

function string(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([number64(bytes.length), bytes]);
}
