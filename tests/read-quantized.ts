import { expect } from "vitest";
import type { Weight } from "../src/base/weights.ts";
import { readQuantization } from "../src/formats/quantized/quantized-linears.ts";
import type { StoredTensor } from "../src/formats/stored-tensor.ts";
import { readerOf } from "./tensor-reader.ts";

export type Tensors = Record<string, Omit<StoredTensor, "name">>;

/** The matrix "m", which must be what its headers promise. */
export function readQuantized(config: Record<string, unknown>, tensors: Tensors): Weight {
  const linears = readQuantization({ quantization_config: config })!;
  const weight = linears.read("m", readerOf(tensors))!;
  const form = linears.form("m", readerOf(tensors))!;
  const { kind, rows, cols } = weight.kind === "reordered" ? weight.matrix : weight;
  expect(form).toMatchObject({ kind, rows, cols });
  if (weight.kind === "dense") expect(form).toMatchObject({ dtype: weight.dtype });
  if (weight.kind === "integer") {
    expect(form).toMatchObject({ bits: weight.bits, groupSize: weight.groupSize });
    if (config["sym"] !== undefined) expect(form).toMatchObject({ hasMinimums: weight.minimums !== null });
  }
  return weight;
}
