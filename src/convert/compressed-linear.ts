import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../base/half.ts";
import type { FloatDtype, IntegerWeight } from "../base/weights.ts";
import { narrowFloats } from "../formats/dequantize.ts";
import { transposeWords } from "../formats/quantized/packed-integers.ts";
import type { TensorSpec } from "../formats/safetensors-writer.ts";
import { packCodes, packedWords } from "../kernels/packed-codes.ts";
import type { LinearScheme } from "../quantize/linear-scheme.ts";

export type NamedData = TensorSpec & { readonly data: Uint8Array };

/** The names of safetensors for float types. */
export const dtypeNames: Readonly<Record<FloatDtype, string>> = { f32: "F32", f16: "F16", bf16: "BF16" };

/** The narrowest float type that holds all values: bf16 before f16, as models keep their scales and norms. */
export function exactFloatType(values: Float32Array): FloatDtype {
  if (values.every((value) => bf16ToF32(f32ToBf16(value)) === value)) return "bf16";
  return values.every((value) => f16ToF32(f32ToF16(value)) === value) ? "f16" : "f32";
}

/** The scheme that holds a matrix with its integers and scales unchanged, or null where there is none. */
export function exactScheme(weight: IntegerWeight): LinearScheme | null {
  const { bits, groupSize, cols, minimums, activations } = weight;
  if (cols % (32 / bits) !== 0) return null;
  if (minimums !== null && (bits === 8 || zeroPoints(weight) === null)) return null;
  const isBytes = bits === 8 && activations === "int8-token";
  return {
    format: isBytes ? "int-quantized" : "pack-quantized",
    bits,
    groupSize: groupSize === cols ? null : groupSize,
    symmetric: minimums === null,
    activations,
  };
}

/** The tensors of a matrix that `exactScheme` found a scheme for. */
export function compressedTensors(module: string, weight: IntegerWeight, scheme: LinearScheme): NamedData[] {
  const { rows, cols, bits, groupSize, codes, scales } = weight;
  const dtype = exactFloatType(scales);
  const perRow = cols / groupSize;
  const scale: NamedData = {
    name: `${module}.weight_scale`,
    dtype: dtypeNames[dtype],
    shape: [rows, perRow],
    data: narrowFloats(scales, dtype),
  };
  if (scheme.format === "int-quantized")
    return [{ name: `${module}.weight`, dtype: "I8", shape: [rows, cols], data: codes }, scale];
  const zeros = scheme.symmetric ? null : zeroPoints(weight)!;
  return [
    {
      name: `${module}.weight_packed`,
      dtype: "I32",
      shape: [rows, packedWords(cols, bits)],
      data: bits === 8 ? codes.map((code) => code ^ 0x80) : codes,
    },
    scale,
    {
      name: `${module}.weight_shape`,
      dtype: "I64",
      shape: [2],
      data: new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(cols)).buffer),
    },
    ...(zeros === null ? [] : [packedZeros(module, zeros, rows)]),
  ];
}

/** Signed zero points z − 8 as [groups of a row, rows] with minimum = −z · scale for each, or null where none fit. */
function zeroPoints({ rows, scales, minimums }: IntegerWeight): Int8Array | null {
  const zeros = new Int8Array(scales.length);
  const perRow = scales.length / rows;
  for (let at = 0; at < scales.length; at += 1) {
    const scale = scales[at]!;
    const minimum = minimums![at]!;
    const zero = scale === 0 ? 0 : Math.round(-minimum / scale);
    if (zero < 0 || zero > 15 || Math.fround(-zero * scale) + 0 !== minimum + 0) return null;
    zeros[(at % perRow) * rows + Math.floor(at / perRow)] = zero - 8;
  }
  return zeros;
}

function packedZeros(module: string, zeros: Int8Array, rows: number): NamedData {
  const words = packedWords(rows, 4);
  const perRow = zeros.length / rows;
  return {
    name: `${module}.weight_zero_point`,
    dtype: "I32",
    shape: [words, perRow],
    data: transposeWords(packCodes(zeros, rows, 4), perRow, words),
  };
}
