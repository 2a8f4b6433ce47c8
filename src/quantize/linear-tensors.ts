import type { MatrixShape } from "../formats/checkpoint.ts";
import { transposeWords } from "../formats/quantized/packed-integers.ts";
import type { TensorSpec } from "../formats/safetensors-writer.ts";
import type { Quantized } from "./grid.ts";
import type { LinearScheme } from "./linear-scheme.ts";
import { packCodes, packedWords } from "./packed-codes.ts";

/** Rows of a band are a multiple of this (but for the last), so that zero points, packed along the rows, fill whole words. */
export const rowUnit = 32;

/** The tensors of a linear (compressed-tensors). */
export function linearSpecs(module: string, { rows, cols }: MatrixShape, scheme: LinearScheme): TensorSpec[] {
  const numGroups = cols / (scheme.groupSize ?? cols);
  const scale: TensorSpec = { name: `${module}.weight_scale`, dtype: "BF16", shape: [rows, numGroups] };
  if (scheme.format === "int-quantized")
    return [{ name: `${module}.weight`, dtype: "I8", shape: [rows, cols] }, scale];
  const zeros: TensorSpec = {
    name: `${module}.weight_zero_point`,
    dtype: "I32",
    shape: [packedWords(rows, scheme.bits), numGroups],
  };
  return [
    { name: `${module}.weight_packed`, dtype: "I32", shape: [rows, packedWords(cols, scheme.bits)] },
    { name: `${module}.weight_shape`, dtype: "I64", shape: [2] },
    scale,
    ...(scheme.symmetric ? [] : [zeros]),
  ];
}

/** Bytes of a tensor from `at` on. */
export interface TensorPiece {
  readonly name: string;
  readonly data: Uint8Array;
  readonly at: number;
}

/** Consecutive rows of a linear. */
export interface RowBand {
  readonly module: string;
  /** Of the whole linear. */
  readonly shape: MatrixShape;
  /** A multiple of `rowUnit`. */
  readonly firstRow: number;
  readonly quantized: Quantized;
}

/** What a band contributes to the tensors of its linear. */
export function linearPieces(
  { module, shape, firstRow, quantized }: RowBand,
  scheme: LinearScheme,
): TensorPiece[] {
  const { codes, scales, zeros } = quantized;
  const { rows, cols } = shape;
  const numGroups = cols / (scheme.groupSize ?? cols);
  const scale: TensorPiece = {
    name: `${module}.weight_scale`,
    data: new Uint8Array(scales.buffer),
    at: firstRow * numGroups * 2,
  };
  if (scheme.format === "int-quantized")
    return [{ name: `${module}.weight`, data: new Uint8Array(codes.buffer), at: firstRow * cols }, scale];
  const pieces: TensorPiece[] = [
    {
      name: `${module}.weight_packed`,
      data: packCodes(codes, cols, scheme.bits),
      at: firstRow * packedWords(cols, scheme.bits) * 4,
    },
    scale,
  ];
  if (firstRow === 0) {
    const data = new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(cols)).buffer);
    pieces.push({ name: `${module}.weight_shape`, data, at: 0 });
  }
  if (zeros !== null) {
    pieces.push({
      name: `${module}.weight_zero_point`,
      data: packZeros(zeros, numGroups, scheme.bits),
      at: packedWords(firstRow, scheme.bits) * numGroups * 4,
    });
  }
  return pieces;
}

/** [rows, numGroups] → 32-bit words [ceil(rows · bits / 32), numGroups]: packed along the rows. */
function packZeros(zeros: Int8Array, numGroups: number, bits: number): Uint8Array {
  const rows = zeros.length / numGroups;
  const columns = new Int8Array(zeros.length);
  for (let row = 0, from = 0; row < rows; row += 1)
    for (let group = 0; group < numGroups; group += 1, from += 1) columns[group * rows + row] = zeros[from]!;
  return transposeWords(packCodes(columns, rows, bits), numGroups, packedWords(rows, bits));
}
