import { MillraceError } from "../../base/errors.ts";
import type { GgufCursor } from "./cursor.ts";

/** A number array keeps its width; 64-bit ones are bigints. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

/** A value of GGUF metadata. 64-bit integers are numbers where exact, else bigints. */
export type GgufValue = number | bigint | boolean | string | GgufNumbers | GgufStrings | readonly GgufValue[];

/** A list of strings, kept as the file has it: only who builds a tokenizer wants a hundred thousand of them decoded. */
export class GgufStrings {
  readonly #encoded: Buffer;
  readonly #count: number;

  constructor(encoded: Buffer, count: number) {
    this.#encoded = encoded;
    this.#count = count;
  }

  read(): string[] {
    const strings: string[] = [];
    for (let at = 0; strings.length < this.#count; ) {
      // The upper half is 0: the reader has checked the lengths.
      const end = at + 8 + this.#encoded.readUInt32LE(at);
      strings.push(this.#encoded.toString("utf8", at + 8, end));
      at = end;
    }
    return strings;
  }
}

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Deeper nesting than any writer uses; a hostile file could nest until the stack ends. */
const maxArrayDepth = 4;

interface ScalarType {
  readonly bytes: number;
  readonly read: (view: DataView) => number | bigint | boolean;
  readonly array: (bytes: Uint8Array<ArrayBuffer>) => GgufNumbers;
}

/** Value types by number (GGUF v3): 8 is a string, 9 an array. */
const scalars: Readonly<Partial<Record<number, ScalarType>>> = {
  0: { bytes: 1, read: (view) => view.getUint8(0), array: (bytes) => bytes },
  1: { bytes: 1, read: (view) => view.getInt8(0), array: (bytes) => new Int8Array(bytes.buffer) },
  2: { bytes: 2, read: (view) => view.getUint16(0, true), array: (bytes) => new Uint16Array(bytes.buffer) },
  3: { bytes: 2, read: (view) => view.getInt16(0, true), array: (bytes) => new Int16Array(bytes.buffer) },
  4: { bytes: 4, read: (view) => view.getUint32(0, true), array: (bytes) => new Uint32Array(bytes.buffer) },
  5: { bytes: 4, read: (view) => view.getInt32(0, true), array: (bytes) => new Int32Array(bytes.buffer) },
  6: { bytes: 4, read: (view) => view.getFloat32(0, true), array: (bytes) => new Float32Array(bytes.buffer) },
  7: { bytes: 1, read: (view) => view.getUint8(0) !== 0, array: (bytes) => bytes },
  10: {
    bytes: 8,
    read: (view) => exact(view.getBigUint64(0, true)),
    array: (bytes) => new BigUint64Array(bytes.buffer),
  },
  11: {
    bytes: 8,
    read: (view) => exact(view.getBigInt64(0, true)),
    array: (bytes) => new BigInt64Array(bytes.buffer),
  },
  12: {
    bytes: 8,
    read: (view) => view.getFloat64(0, true),
    array: (bytes) => new Float64Array(bytes.buffer),
  },
};

/** Reads one value of type `type`. Throws `invalid_model_file`. */
export function readGgufValue(cursor: GgufCursor, type: number, depth = 0): GgufValue {
  const scalar = scalars[type];
  if (scalar !== undefined) return scalar.read(cursor.view(scalar.bytes));
  if (type === 8) return cursor.string();
  if (type === 9) return readArray(cursor, depth + 1);
  throw cursor.damaged(`has a metadata value of type ${type}; the format has types 0 to 12`);
}

function readArray(cursor: GgufCursor, depth: number): GgufValue {
  if (depth > maxArrayDepth) throw cursor.damaged(`has metadata arrays nested deeper than ${maxArrayDepth}`);
  const type = cursor.u32();
  const scalar = scalars[type];
  // A string has at least its length, a nested array its type and count: no count can ask for more than the file holds.
  const count = cursor.count(scalar?.bytes ?? (type === 8 ? 8 : 12), "an array of its metadata");
  if (scalar !== undefined) return scalar.array(cursor.bytes(count * scalar.bytes));
  if (type === 8) return new GgufStrings(cursor.encodedStrings(count), count);
  if (type === 9) return readEach(count, () => readArray(cursor, depth + 1));
  throw cursor.damaged(`has a metadata array of type ${type}; the format has types 0 to 12`);
}

function readEach<T>(count: number, read: () => T): T[] {
  const values: T[] = [];
  for (let i = 0; i < count; i += 1) values.push(read());
  return values;
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Typed access to metadata; a value of the wrong kind is `invalid_model_file`, an absent one undefined. */
export class GgufKeys {
  readonly #metadata: GgufMetadata;
  readonly #path: string;

  constructor(metadata: GgufMetadata, path: string) {
    this.#metadata = metadata;
    this.#path = path;
  }

  number(key: string): number | undefined {
    const value = this.#metadata.get(key);
    return value === undefined || typeof value === "number" ? value : this.#fail(key, "a number");
  }

  text(key: string): string | undefined {
    const value = this.#metadata.get(key);
    return value === undefined || typeof value === "string" ? value : this.#fail(key, "a string");
  }

  flag(key: string): boolean | undefined {
    const value = this.#metadata.get(key);
    return value === undefined || typeof value === "boolean" ? value : this.#fail(key, "true or false");
  }

  strings(key: string): GgufStrings | undefined {
    const value = this.#metadata.get(key);
    return value === undefined || value instanceof GgufStrings ? value : this.#fail(key, "a list of strings");
  }

  numbers(key: string): ArrayLike<number> | undefined {
    const value = this.#metadata.get(key);
    if (value === undefined) return undefined;
    const isList =
      ArrayBuffer.isView(value) && !(value instanceof BigInt64Array) && !(value instanceof BigUint64Array);
    return isList ? value : this.#fail(key, "a list of numbers");
  }

  /** The value where all of a per-layer list are equal, or the number itself. */
  uniformNumber(key: string): number | undefined {
    const value = this.#metadata.get(key);
    if (value === undefined || typeof value === "number") return value;
    const list = this.numbers(key)!;
    const first = list[0];
    for (let i = 1; i < list.length; i += 1)
      if (list[i] !== first) return this.#fail(key, "the same for every layer");
    return first;
  }

  #fail(key: string, allowed: string): never {
    throw new MillraceError(
      "invalid_model_file",
      `${this.#path} has metadata ${key} of another kind; it must be ${allowed}. Fetch the file again.`,
    );
  }
}
