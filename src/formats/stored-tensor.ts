import type { FloatDtype } from "../base/weights.ts";

/** What a file's header tells of a tensor. */
export interface TensorHeader {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** A tensor as the file stores it. `data` may be a view of a mapped file: read only, of any alignment. */
export interface StoredTensor extends TensorHeader {
  readonly data: Uint8Array;
}

/** Looks tensors up by the file's own names. */
export interface TensorReader {
  has(name: string): boolean;
  /** Type and shape without touching the data. Throws `tensor_missing`. */
  header(name: string): TensorHeader;
  /** A small tensor that says what another one is, such as its shape; no file is mapped for it. Throws `tensor_missing`. */
  detail(name: string): StoredTensor;
  /** Throws `tensor_missing`. */
  tensor(name: string): StoredTensor;
}

/** The float types that weights, scales and vectors are read from, by the file's own name. */
export const floatDtypes: Readonly<Partial<Record<string, FloatDtype>>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};
