import { invariant } from "../../base/invariant.ts";

/** A metadata value to write, with its GGUF type. */
export type GgufFieldValue =
  | { readonly type: "u16" | "u32" | "i32" | "f32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "i32s" | "f32s"; readonly value: readonly number[] };

/** Metadata in the order in which it is written. */
export type GgufFields = readonly (readonly [key: string, value: GgufFieldValue])[];

export const u16 = (value: number): GgufFieldValue => ({ type: "u16", value });
export const i32 = (value: number): GgufFieldValue => ({ type: "i32", value });
export const u32 = (value: number): GgufFieldValue => ({ type: "u32", value });
export const f32 = (value: number): GgufFieldValue => ({ type: "f32", value });
export const text = (value: string): GgufFieldValue => ({ type: "string", value });
export const flag = (value: boolean): GgufFieldValue => ({ type: "bool", value });

/** Numbers of value types (GGUF v3). */
const typeNumbers = { u16: 2, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

/** Type and value as the file has them. */
export function encodeField(field: GgufFieldValue): Uint8Array[] {
  switch (field.type) {
    case "u16":
      return [encodeU32(typeNumbers.u16), new Uint8Array(Uint16Array.of(field.value).buffer)];
    case "i32":
      return [encodeU32(typeNumbers.i32), new Uint8Array(Int32Array.of(field.value).buffer)];
    case "u32":
      return [encodeU32(typeNumbers.u32), encodeU32(field.value)];
    case "f32":
      return [encodeU32(typeNumbers.f32), new Uint8Array(Float32Array.of(field.value).buffer)];
    case "bool":
      return [encodeU32(typeNumbers.bool), Uint8Array.of(field.value ? 1 : 0)];
    case "string":
      return [encodeU32(typeNumbers.string), ...encodeString(field.value)];
    case "strings":
      return [...arrayHead(typeNumbers.string, field.value.length), ...field.value.flatMap(encodeString)];
    case "i32s":
      return [
        ...arrayHead(typeNumbers.i32, field.value.length),
        new Uint8Array(Int32Array.from(field.value).buffer),
      ];
    case "f32s":
      return [
        ...arrayHead(typeNumbers.f32, field.value.length),
        new Uint8Array(Float32Array.from(field.value).buffer),
      ];
  }
}

function arrayHead(type: number, count: number): Uint8Array[] {
  return [encodeU32(typeNumbers.array), encodeU32(type), encodeU64(count)];
}

export function encodeString(value: string): Uint8Array[] {
  const bytes = new TextEncoder().encode(value);
  return [encodeU64(bytes.length), bytes];
}

export function encodeU32(value: number): Uint8Array {
  invariant(Number.isInteger(value) && value >= 0 && value < 2 ** 32, `${value} is a 32-bit number`);
  return new Uint8Array(Uint32Array.of(value).buffer);
}

export function encodeU64(value: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
}
