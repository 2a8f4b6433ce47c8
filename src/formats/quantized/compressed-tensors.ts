import { MillraceError } from "../../base/errors.ts";
import type { IntegerWeight, Weight, WeightForm } from "../../base/weights.ts";
import type { MatrixShape } from "../checkpoint.ts";
import { widenFloats } from "../dequantize.ts";
import type { JsonObject } from "../json-file.ts";
import { floatDtypes, type TensorHeader, type TensorReader } from "../stored-tensor.ts";
import { hasShape, numElements, unfit } from "./check-header.ts";
import { parseCompressedTensors, type QuantizationScheme } from "./compressed-tensors-config.ts";
import { checkFloat8, readFloat8 } from "./float8.ts";
import { checkGroupIndex, groupedForm, withGroupOrder } from "./grouped-integers.ts";
import { packNibbles, transposeWords, unpackBits } from "./packed-integers.ts";
import type { QuantizedLinears } from "./quantized-linears.ts";

interface Parts {
  readonly module: string;
  readonly read: TensorReader;
  readonly scheme: QuantizationScheme;
}

/** A linear of integers as far as headers tell. */
interface Layout extends MatrixShape {
  readonly groupsPerRow: number;
}

/** Throws `unsupported_format` or `invalid_model_file` as `parseCompressedTensors` does. */
export function compressedTensorsLinears(config: JsonObject): QuantizedLinears {
  const parsed = parseCompressedTensors(config);
  const schemeOf = (module: string, tensors: TensorReader): QuantizationScheme | null => {
    const scheme = parsed.schemeOf(module);
    if (scheme !== null || !tensors.has(`${module}.weight_packed`)) return scheme;
    throw new MillraceError(
      "invalid_model_file",
      `${module}.weight_packed is there, but no group of quantization_config targets ${module}. Correct config.json or fetch it again.`,
    );
  };
  return {
    label: parsed.label,
    packedSuffix: null,
    form: (module, read) => {
      const scheme = schemeOf(module, read);
      return scheme === null ? null : formOf({ module, read, scheme });
    },
    read: (module, read) => {
      const scheme = schemeOf(module, read);
      return scheme === null ? null : readCompressedLinear(module, scheme, read);
    },
  };
}

function formOf(parts: Parts): WeightForm {
  const { module, read, scheme } = parts;
  if (scheme.format === "float-quantized")
    return { kind: "dense", ...float8Layout(parts), dtype: "f32", isWidened: true };
  const isPacked = scheme.format === "pack-quantized";
  const layout = isPacked ? packedLayout(parts) : byteLayout(parts);
  const { rows, cols, groupsPerRow: numGroups } = layout;
  const bits = fitsHalfBytes(scheme, cols) ? 4 : 8;
  const { dtype } = read.header(`${module}.weight_scale`);
  const matrix = { rows, cols, bits, numGroups, hasMinimums: !scheme.symmetric };
  const form = { ...groupedForm(matrix, dtype), activations: scheme.activations };
  return read.has(`${module}.weight_g_idx`) ? { ...form, isReordered: true } : form;
}

/**
 * A linear of a compressed-tensors checkpoint with its integers and scales unchanged. Asymmetric zero points z
 * become minimums −z·scale, exact for 16-bit scales. Packed 2- and 3-bit integers take the 4-bit form. Float8
 * becomes f32.
 * Throws `invalid_model_file` where tensors and scheme do not fit, `unsupported_format` for a layout not read.
 */
export function readCompressedLinear(module: string, scheme: QuantizationScheme, read: TensorReader): Weight {
  const parts: Parts = { module, read, scheme };
  if (scheme.format === "float-quantized") {
    float8Layout(parts);
    return readFloat8(read.tensor(`${module}.weight`), read.tensor(`${module}.weight_scale`), scheme.block);
  }
  const weight = scheme.format === "int-quantized" ? readBytes(parts) : readPacked(parts);
  const order = `${module}.weight_g_idx`;
  return read.has(order) ? withGroupOrder(weight, read.tensor(order)) : weight;
}

/** Whether integers take the 4-bit form: unpacked ones of an odd width stay bytes. */
function fitsHalfBytes({ bits }: QuantizationScheme, cols: number): boolean {
  return bits <= 4 && cols % 2 === 0;
}

function float8Layout({ module, read, scheme }: Parts): MatrixShape {
  return checkFloat8(read.header(`${module}.weight`), read.header(`${module}.weight_scale`), scheme.block);
}

function byteLayout(parts: Parts): Layout {
  const weight = parts.read.header(`${parts.module}.weight`);
  if (weight.dtype !== "I8" || weight.shape.length !== 2)
    throw unfitFor(parts, weight, "I8 with two dimensions");
  const [rows, cols] = weight.shape as [number, number];
  const layout = withGroups(parts, { rows, cols });
  if (parts.scheme.symmetric) return layout;
  const zeros = parts.read.header(`${parts.module}.weight_zero_point`);
  const { groupsPerRow } = layout;
  const count = numElements(zeros);
  if (zeros.dtype !== "I8" || (count !== rows * groupsPerRow && count !== 1))
    throw unfitFor(parts, zeros, `I8 [${rows}, ${groupsPerRow}]`);
  return layout;
}

function packedLayout(parts: Parts): Layout {
  const { rows, cols } = readShape(parts);
  const { bits, symmetric } = parts.scheme;
  const packed = parts.read.header(`${parts.module}.weight_packed`);
  const words = Math.ceil((cols * bits) / 32);
  if (!hasShape(packed, "I32", [rows, words])) throw unfitFor(parts, packed, `I32 [${rows}, ${words}]`);
  if (bits !== 8 && cols % 2 !== 0) throw unfitFor(parts, packed, "an even number of columns");
  const layout = withGroups(parts, { rows, cols });
  if (symmetric) return layout;
  const zeros = parts.read.header(`${parts.module}.weight_zero_point`);
  const wanted = [Math.ceil((rows * bits) / 32), layout.groupsPerRow];
  if (!hasShape(zeros, "I32", wanted)) throw unfitFor(parts, zeros, `I32 [${wanted.join(", ")}]`);
  return layout;
}

/** Groups of a row, and checks of what the scales' headers tell. */
function withGroups({ module, scheme, read }: Parts, { rows, cols }: MatrixShape): Layout {
  if (read.has(`${module}.input_scale`)) {
    throw new MillraceError(
      "unsupported_format",
      `${module} has a static input_scale; only dynamic activations are read. Quantise again with dynamic activations.`,
    );
  }
  const groupSize = scheme.groupSize ?? cols;
  if (cols % groupSize !== 0) {
    throw new MillraceError(
      "unsupported_format",
      `${module} has ${cols} columns in groups of ${groupSize}; the last group is short, which is not read. Quantise again with a group size that divides ${cols}.`,
    );
  }
  const groupsPerRow = cols / groupSize;
  const scales = read.header(`${module}.weight_scale`);
  const count = numElements(scales);
  if (floatDtypes[scales.dtype] === undefined || (count !== rows * groupsPerRow && count !== 1))
    throw unfit(scales, `BF16, F16 or F32 [${rows}, ${groupsPerRow}]`);
  const order = `${module}.weight_g_idx`;
  if (read.has(order)) checkGroupIndex(read.header(order), cols);
  return { rows, cols, groupsPerRow };
}

function readBytes(parts: Parts): IntegerWeight {
  const layout = byteLayout(parts);
  const { data } = parts.read.tensor(`${parts.module}.weight`);
  const zeros = parts.scheme.symmetric ? null : readByteZeros(parts, layout);
  if (!fitsHalfBytes(parts.scheme, layout.cols))
    return assemble(parts, layout, { bits: 8, codes: data }, zeros);
  // Half a byte holds each: codes and zero points from 0 up, as the 4-bit form has them.
  const codes = data.map((code) => code + 8);
  if (codes.some((code) => code > 15))
    throw unfitFor(parts, parts.read.header(`${parts.module}.weight`), "integers from -8 to 7");
  const halves = { bits: 4, codes: packNibbles(codes) } as const;
  return assemble(parts, layout, halves, zeros?.map((zero) => zero + 8) ?? null);
}

function readPacked(parts: Parts): IntegerWeight {
  const { bits } = parts.scheme;
  const layout = packedLayout(parts);
  const { rows, cols } = layout;
  const { data } = parts.read.tensor(`${parts.module}.weight_packed`);
  const shape = { rows, count: cols, stride: Math.ceil((cols * bits) / 32) * 4 };
  const zeros = parts.scheme.symmetric ? null : readPackedZeros(parts, layout);
  if (bits === 8) {
    const codes = unpackBits(data, shape, 8);
    for (let i = 0; i < codes.length; i += 1) codes[i] = codes[i]! ^ 0x80;
    return assemble(parts, layout, { bits: 8, codes }, zeros);
  }
  if (bits === 4 && cols % 8 === 0) return assemble(parts, layout, { bits: 4, codes: data }, zeros);
  const wide = unpackBits(data, shape, bits);
  // Symmetric: q = u − 2^(bits−1) must equal code − 8. Asymmetric: the code is u itself.
  const shift = parts.scheme.symmetric ? 8 - (1 << (bits - 1)) : 0;
  if (shift > 0) for (let i = 0; i < wide.length; i += 1) wide[i] = wide[i]! + shift;
  return assemble(parts, layout, { bits: 4, codes: packNibbles(wide) }, zeros);
}

/** Rows and columns, which no header of the packed format tells. */
function readShape(parts: Parts): MatrixShape {
  const tensor = parts.read.detail(`${parts.module}.weight_shape`);
  const { dtype, data } = tensor;
  if ((dtype !== "I64" && dtype !== "I32") || numElements(tensor) !== 2)
    throw unfitFor(parts, tensor, "I64 [2]");
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const at = (i: number): number =>
    dtype === "I64" ? Number(view.getBigInt64(i * 8, true)) : view.getInt32(i * 4, true);
  const [rows, cols] = [at(0), at(1)];
  if ([rows, cols].every((size) => Number.isSafeInteger(size) && size > 0 && size < 2 ** 31))
    return { rows, cols };
  throw new MillraceError(
    "invalid_model_file",
    `${parts.module}.weight_shape says [${rows}, ${cols}], which is no shape. Fetch the file again.`,
  );
}

/** [rows, groupsPerRow] */
function readScales({ module, read }: Parts, { rows, groupsPerRow }: Layout): Float32Array {
  const { dtype, data } = read.tensor(`${module}.weight_scale`);
  return spread(widenFloats(data, floatDtypes[dtype]!), rows * groupsPerRow);
}

/** One value for all, or one for each. */
function spread(values: Float32Array, count: number): Float32Array {
  return values.length === count ? values : new Float32Array(count).fill(values[0]!);
}

/** Signed zero points [rows, groupsPerRow] of the unpacked format. */
function readByteZeros({ module, read }: Parts, { rows, groupsPerRow }: Layout): Float32Array {
  const { data } = read.tensor(`${module}.weight_zero_point`);
  const zeros = new Int8Array(data.buffer, data.byteOffset, data.length);
  return spread(Float32Array.from(zeros), rows * groupsPerRow);
}

/** Zero points [rows, groupsPerRow], packed along the rows; signed for 8 bits, else unsigned like the codes. */
function readPackedZeros({ module, read, scheme }: Parts, { rows, groupsPerRow }: Layout): Float32Array {
  const { bits } = scheme;
  const { data } = read.tensor(`${module}.weight_zero_point`);
  const words = Math.ceil((rows * bits) / 32);
  const columns = unpackBits(
    transposeWords(data, words, groupsPerRow),
    { rows: groupsPerRow, count: rows, stride: words * 4 },
    bits,
  );
  const offset = bits === 8 ? 128 : 0;
  const zeros = new Float32Array(rows * groupsPerRow);
  for (let row = 0; row < rows; row += 1) {
    for (let group = 0; group < groupsPerRow; group += 1)
      zeros[row * groupsPerRow + group] = columns[group * rows + row]! - offset;
  }
  return zeros;
}

function assemble(
  parts: Parts,
  layout: Layout,
  { bits, codes }: Pick<IntegerWeight, "bits" | "codes">,
  zeros: Float32Array | null,
): IntegerWeight {
  const { rows, cols, groupsPerRow } = layout;
  const scales = readScales(parts, layout);
  return {
    kind: "integer",
    rows,
    cols,
    bits,
    groupSize: cols / groupsPerRow,
    codes,
    scales,
    minimums: zeros?.map((zero, i) => -zero * scales[i]!) ?? null,
    activations: parts.scheme.activations,
  };
}

function unfitFor({ scheme }: Parts, tensor: TensorHeader, expected: string): MillraceError {
  return unfit(tensor, `${expected} for ${scheme.format} ${scheme.bits}-bit weights`);
}
