import type { IntegerForm, IntegerWeight, Weight } from "../../base/weights.ts";
import { widenFloats } from "../dequantize.ts";
import { floatDtypes, type StoredTensor, type TensorHeader } from "../stored-tensor.ts";
import { checkList, hasShape, unfit } from "./check-header.ts";
import { packNibbles } from "./packed-integers.ts";

/** Unsigned integers with zero points: w = (q − z) · scale, as GPTQ and AWQ store them, rows being outputs. */
export interface GroupedIntegers {
  readonly rows: number;
  readonly cols: number;
  readonly bits: number;
  /** [rows, cols] */
  readonly codes: Uint8Array;
  /** [groups, rows] */
  readonly scales: Float32Array;
  /** [groups, rows] */
  readonly zeros: Uint8Array;
}

/**
 * What `toIntegerWeight` gives, as far as headers tell. Minimums are products of a scale and a zero point, of which
 * few fit 16 bits, and scales are as wide as they.
 *
 * @param scaleDtype the file's type of the scales
 */
export function groupedForm(
  {
    rows,
    cols,
    bits,
    numGroups,
    hasMinimums,
  }: {
    readonly rows: number;
    readonly cols: number;
    readonly bits: number;
    readonly numGroups: number;
    readonly hasMinimums: boolean;
  },
  scaleDtype: string,
): IntegerForm {
  return {
    kind: "integer",
    rows,
    cols,
    bits: bits === 8 ? 8 : 4,
    groupSize: cols / numGroups,
    hasMinimums,
    scaleBytes: hasMinimums || scaleDtype === "F32" ? 4 : 2,
    activations: "unspecified",
  };
}

/**
 * The exact integer form: without minimums where every zero point is the middle of the range, else with minimums −z·s.
 * 2 and 3 bits take the form of 4. Products of an f16 scale and a zero point are exact in f32.
 */
export function toIntegerWeight(parts: GroupedIntegers): IntegerWeight {
  const { rows, cols, bits, codes, scales, zeros } = parts;
  const numGroups = scales.length / rows;
  const middle = 1 << (bits - 1);
  const isSymmetric = zeros.every((zero) => zero === middle);
  // 8-bit codes are signed; 4-bit ones stand for code − 8 without minimums.
  const shift = bits === 8 ? -128 : isSymmetric ? 8 - middle : 0;
  const minimums = isSymmetric ? null : new Float32Array(scales.length);
  const ownScales = new Float32Array(scales.length);
  for (let row = 0, to = 0; row < rows; row += 1) {
    for (let group = 0; group < numGroups; group += 1, to += 1) {
      const from = group * rows + row;
      ownScales[to] = scales[from]!;
      if (minimums !== null) minimums[to] = -(zeros[from]! + (bits === 8 ? shift : 0)) * scales[from]!;
    }
  }
  const shifted = shift === 0 ? codes : codes.map((code) => code + shift);
  return {
    kind: "integer",
    rows,
    cols,
    bits: bits === 8 ? 8 : 4,
    groupSize: cols / numGroups,
    codes: bits === 8 ? shifted : packNibbles(shifted),
    scales: ownScales,
    minimums,
    activations: "unspecified",
  };
}

/**
 * A matrix whose groups are not runs of columns (activation order): `tensor`, which `checkGroupIndex` passed, gives each
 * column's group. Where they are
 * in order after all, the matrix itself; else its columns sorted by group. A file whose groups differ in size becomes
 * f32. Throws `invalid_model_file`.
 */
export function withGroupOrder(weight: IntegerWeight, tensor: StoredTensor): Weight {
  const { cols, groupSize } = weight;
  const perRow = cols / groupSize;
  const groups = new Int32Array(tensor.data.slice().buffer);
  if (groups.some((group) => group < 0 || group >= perRow))
    throw unfit(tensor, `I32 [${cols}] of groups below ${perRow}`);
  if (groups.every((group, col) => group === Math.floor(col / groupSize))) return weight;
  const columns = Int32Array.from(groups.keys()).sort((a, b) => groups[a]! - groups[b]! || a - b);
  const areEqual = columns.every((from, col) => groups[from] === Math.floor(col / groupSize));
  if (!areEqual) return scatteredFloats(weight, groups);
  const matrix = { ...weight, codes: reorderCodes(weight, columns) };
  return { kind: "reordered", rows: weight.rows, cols, matrix, columns };
}

/** Codes of the columns in another order: column j of the result is column `columns[j]`. */
function reorderCodes({ rows, cols, bits, codes }: IntegerWeight, columns: Int32Array): Uint8Array {
  const out = new Uint8Array(codes.length);
  for (let row = 0, to = 0; row < rows; row += 1) {
    for (let col = 0; col < cols; col += 1, to += 1) {
      const from = row * cols + columns[col]!;
      if (bits === 8) out[to] = codes[from]!;
      else out[to >> 1]! |= ((codes[from >> 1]! >> ((from & 1) << 2)) & 15) << ((to & 1) << 2);
    }
  }
  return out;
}

function scatteredFloats(weight: IntegerWeight, groups: Int32Array): Weight {
  const { rows, cols, groupSize, bits, codes, scales, minimums } = weight;
  const perRow = cols / groupSize;
  const values = new Float32Array(rows * cols);
  const zero = minimums === null ? 8 : 0;
  for (let row = 0, at = 0; row < rows; row += 1) {
    for (let col = 0; col < cols; col += 1, at += 1) {
      const q = bits === 8 ? (codes[at]! << 24) >> 24 : ((codes[at >> 1]! >> ((at & 1) << 2)) & 15) - zero;
      const group = row * perRow + groups[col]!;
      values[at] = Math.fround(scales[group]! * q) + (minimums === null ? -0 : minimums[group]!);
    }
  }
  return { kind: "dense", rows, cols, dtype: "f32", data: new Uint8Array(values.buffer) };
}

/** Throws `invalid_model_file` for a tensor that is not the scales [groups, rows] of a matrix. */
export function checkScales(tensor: TensorHeader, groups: number, rows: number): void {
  if (floatDtypes[tensor.dtype] === undefined || !hasShape(tensor, tensor.dtype, [groups, rows]))
    throw unfit(tensor, `a float type [${groups}, ${rows}]`);
}

/** The values of scales that `checkScales` passed. */
export function scalesOf(tensor: StoredTensor): Float32Array {
  return widenFloats(tensor.data, floatDtypes[tensor.dtype]!);
}

/** Throws `invalid_model_file` for a tensor that gives no group to each column. */
export function checkGroupIndex(tensor: TensorHeader, cols: number): void {
  checkList(tensor, "I32", cols);
}
