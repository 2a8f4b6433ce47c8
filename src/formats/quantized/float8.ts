import { MillraceError } from "../../base/errors.ts";
import type { DenseWeight } from "../../base/weights.ts";
import { widenFloats } from "../dequantize.ts";
import { floatDtypes, type StoredTensor } from "../stored-tensor.ts";

/** Values of float8 E4M3 without infinities (Micikevicius et al. 2022): 4 bits of exponent, bias 7; 0x7f and 0xff are NaN. */
const e4m3: Float32Array = Float32Array.from({ length: 256 }, (_, bits) => {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 15;
  const mantissa = bits & 7;
  if ((bits & 0x7f) === 0x7f) return NaN;
  return sign * (exponent === 0 ? (mantissa / 8) * 2 ** -6 : (1 + mantissa / 8) * 2 ** (exponent - 7));
});

/**
 * A matrix of float8 E4M3 times its scales, as f32: element and scale are multiplied and rounded once, which no
 * 16-bit float would hold. Scales cover the matrix, a row, or blocks of rows and columns of which the last may be short.
 *
 * @param block rows and columns of a scale's block; null where there is one scale, or one for each row
 */
export function readFloat8(
  weight: StoredTensor,
  scale: StoredTensor,
  block: readonly [rows: number, cols: number] | null,
): DenseWeight {
  const [rows, cols] = weight.shape as [number, number];
  if (weight.dtype !== "F8_E4M3" || weight.shape.length !== 2) throw unfit(weight, "F8_E4M3 [rows, columns]");
  const dtype = floatDtypes[scale.dtype];
  if (dtype === undefined) throw unfit(scale, "BF16, F16 or F32");
  const scales = widenFloats(scale.data, dtype);
  const perRow = block === null ? 1 : Math.ceil(cols / block[1]);
  const isSingle = block === null && scales.length === 1;
  const numScales = isSingle ? 1 : block === null ? rows : Math.ceil(rows / block[0]) * perRow;
  if (scales.length !== numScales) throw unfit(scale, `${numScales} values`);
  const [blockRows, blockCols] = isSingle ? [rows, cols] : (block ?? [1, cols]);
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

function unfit({ name, dtype, shape }: StoredTensor, expected: string): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `${name} is ${dtype} [${shape.join(", ")}]; float8 weights need ${expected}. Fetch the model again; config.json and weights may be of different checkpoints.`,
  );
}
