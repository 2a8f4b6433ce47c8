import type { DenseWeight } from "../../base/weights.ts";
import type { MatrixShape } from "../checkpoint.ts";
import { widenFloats } from "../dequantize.ts";
import { floatDtypes, type StoredTensor, type TensorHeader } from "../stored-tensor.ts";
import { numElements, unfit } from "./check-header.ts";

/** Values of float8 E4M3 without infinities (Micikevicius et al. 2022): 4 bits of exponent, bias 7; 0x7f and 0xff are NaN. */
const e4m3: Float32Array = Float32Array.from({ length: 256 }, (_, bits) => {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 15;
  const mantissa = bits & 7;
  if ((bits & 0x7f) === 0x7f) return NaN;
  return sign * (exponent === 0 ? (mantissa / 8) * 2 ** -6 : (1 + mantissa / 8) * 2 ** (exponent - 7));
});

/** Rows and columns of one scale; null where there is one scale, or one for each row. */
type Block = readonly [rows: number, cols: number] | null;

/** The shape of a float8 matrix that has the scales it needs. Throws `invalid_model_file`. */
export function checkFloat8(weight: TensorHeader, scale: TensorHeader, block: Block): MatrixShape {
  if (weight.dtype !== "F8_E4M3" || weight.shape.length !== 2) throw unfit(weight, "F8_E4M3 [rows, columns]");
  const [rows, cols] = weight.shape as [number, number];
  const count = numElements(scale);
  const wanted = block === null ? rows : Math.ceil(rows / block[0]) * Math.ceil(cols / block[1]);
  if (floatDtypes[scale.dtype] === undefined || (count !== wanted && (block !== null || count !== 1)))
    throw unfit(scale, `BF16, F16 or F32 with ${wanted} values`);
  return { rows, cols };
}

/**
 * A matrix of float8 E4M3 times its scales, as f32: element and scale are multiplied and rounded once, which no
 * 16-bit float would hold. Scales cover the matrix, a row, or blocks of rows and columns of which the last may be short.
 * Both tensors are as `checkFloat8` wants them.
 */
export function readFloat8(weight: StoredTensor, scale: StoredTensor, block: Block): DenseWeight {
  const [rows, cols] = weight.shape as [number, number];
  const scales = widenFloats(scale.data, floatDtypes[scale.dtype]!);
  const [blockRows, blockCols] = block ?? [scales.length === 1 ? rows : 1, cols];
  const perRow = Math.ceil(cols / blockCols);
  const values = new Float32Array(rows * cols);
  for (let row = 0, at = 0; row < rows; row += 1) {
    const first = Math.floor(row / blockRows) * perRow;
    for (let start = 0, group = first; start < cols; start += blockCols, group += 1) {
      const factor = scales[group]!;
      for (const end = at + Math.min(blockCols, cols - start); at < end; at += 1)
        values[at] = e4m3[weight.data[at]!]! * factor;
    }
  }
  return { kind: "dense", rows, cols, dtype: "f32", data: new Uint8Array(values.buffer) };
}
