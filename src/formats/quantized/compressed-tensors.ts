import { MillraceError } from "../../base/errors.ts";
import type { IntegerWeight, Weight, WeightForm } from "../../base/weights.ts";
import type { MatrixShape } from "../checkpoint.ts";
import { widenFloats } from "../dequantize.ts";
import type { JsonObject } from "../json-file.ts";
import { floatDtypes, type StoredTensor, type TensorReader } from "../stored-tensor.ts";
import { parseCompressedTensors, type QuantizationScheme } from "./compressed-tensors-config.ts";
import { readFloat8 } from "./float8.ts";
import { groupedForm, withGroupOrder } from "./grouped-integers.ts";
import { packNibbles, transposeWords, unpackBits } from "./packed-integers.ts";
import type { QuantizedLinears } from "./quantized-linears.ts";

interface Parts {
  readonly module: string;
  readonly read: TensorReader;
  readonly scheme: QuantizationScheme;
}

/** Throws `unsupported_format` or `invalid_model_file` as `parseCompressedTensors` does. */
export function compressedTensorsLinears(config: JsonObject): QuantizedLinears {
  const parsed = parseCompressedTensors(config);
  return {
    label: parsed.label,
    form: (module, shape, tensors) => {
      const scheme = parsed.schemeOf(module);
      return scheme === null ? null : formOf(module, shape, scheme, tensors);
    },
    read: (module, tensors) => {
      const scheme = parsed.schemeOf(module);
      if (scheme !== null) return readCompressedLinear(module, scheme, tensors);
      if (!tensors.has(`${module}.weight_packed`)) return null;
      throw new MillraceError(
        "invalid_model_file",
        `${module}.weight_packed is there, but no group of quantization_config targets ${module}. Correct config.json or fetch it again.`,
      );
    },
  };
}

function formOf(
  module: string,
  { rows, cols }: MatrixShape,
  { format, bits, symmetric, groupSize, activations }: QuantizationScheme,
  tensors: TensorReader,
): WeightForm {
  if (format === "float-quantized") return { kind: "dense", rows, cols, dtype: "f32" };
  const parts = { rows, cols, bits: bits > 4 || cols % 2 !== 0 ? 8 : 4, hasMinimums: !symmetric };
  const numGroups = groupSize === null ? 1 : cols / groupSize;
  const { dtype } = tensors.header(`${module}.weight_scale`);
  const form = { ...groupedForm({ ...parts, numGroups }, dtype), activations };
  return tensors.has(`${module}.weight_g_idx`) ? { ...form, isReordered: true } : form;
}

/**
 * A linear of a compressed-tensors checkpoint with its integers and scales unchanged. Asymmetric zero points z
 * become minimums −z·scale, exact for 16-bit scales. Packed 2- and 3-bit integers take the 4-bit form. Float8
 * becomes f32.
 * Throws `invalid_model_file` where tensors and scheme do not fit, `unsupported_format` for a layout not read.
 */
export function readCompressedLinear(module: string, scheme: QuantizationScheme, read: TensorReader): Weight {
  if (scheme.format === "float-quantized") {
    return readFloat8(read.tensor(`${module}.weight`), read.tensor(`${module}.weight_scale`), scheme.block);
  }
  const parts: Parts = { module, read, scheme };
  if (read.has(`${module}.input_scale`)) {
    throw new MillraceError(
      "unsupported_format",
      `${module} has a static input_scale; only dynamic activations are read. Quantise again with dynamic activations.`,
    );
  }
  const weight = scheme.format === "int-quantized" ? readBytes(parts) : readPacked(parts);
  const order = `${module}.weight_g_idx`;
  return read.has(order) ? withGroupOrder(weight, read.tensor(order)) : weight;
}

function readBytes(parts: Parts): IntegerWeight {
  const weight = parts.read.tensor(`${parts.module}.weight`);
  if (weight.dtype !== "I8" || weight.shape.length !== 2)
    throw unfit(parts, weight, "I8 with two dimensions");
  const [rows, cols] = weight.shape as [number, number];
  const groups = readGroups(parts, rows, cols);
  const zeros = parts.scheme.symmetric ? null : readByteZeros(parts, rows, groups.perRow);
  if (parts.scheme.bits > 4 || cols % 2 !== 0)
    return assemble(parts, { rows, cols, bits: 8, codes: weight.data }, groups, zeros);
  // Half a byte holds each: codes and zero points from 0 up, as the 4-bit form has them.
  const codes = weight.data.map((code) => code + 8);
  if (codes.some((code) => code > 15)) throw unfit(parts, weight, "integers from -8 to 7");
  return assemble(
    parts,
    { rows, cols, bits: 4, codes: packNibbles(codes) },
    groups,
    zeros?.map((zero) => zero + 8) ?? null,
  );
}

function readPacked(parts: Parts): IntegerWeight {
  const { bits } = parts.scheme;
  const packed = parts.read.tensor(`${parts.module}.weight_packed`);
  const [rows, cols] = readShape(parts);
  const words = Math.ceil((cols * bits) / 32);
  if (
    packed.dtype !== "I32" ||
    packed.shape.length !== 2 ||
    packed.shape[0] !== rows ||
    packed.shape[1] !== words
  ) {
    throw unfit(parts, packed, `I32 [${rows}, ${words}]`);
  }
  const groups = readGroups(parts, rows, cols);
  const zeros = parts.scheme.symmetric ? null : readPackedZeros(parts, rows, groups.perRow);
  const shape = { rows, count: cols, stride: words * 4 };
  if (bits === 8) {
    const codes = unpackBits(packed.data, shape, 8);
    for (let i = 0; i < codes.length; i += 1) codes[i] = codes[i]! ^ 0x80;
    return assemble(parts, { rows, cols, bits: 8, codes }, groups, zeros);
  }
  if (cols % 2 !== 0) throw unfit(parts, packed, "an even number of columns");
  if (bits === 4 && cols % 8 === 0)
    return assemble(parts, { rows, cols, bits: 4, codes: packed.data }, groups, zeros);
  const wide = unpackBits(packed.data, shape, bits);
  // Symmetric: q = u − 2^(bits−1) must equal code − 8. Asymmetric: the code is u itself.
  const shift = parts.scheme.symmetric ? 8 - (1 << (bits - 1)) : 0;
  if (shift > 0) for (let i = 0; i < wide.length; i += 1) wide[i] = wide[i]! + shift;
  return assemble(parts, { rows, cols, bits: 4, codes: packNibbles(wide) }, groups, zeros);
}

function readShape(parts: Parts): [number, number] {
  const tensor = parts.read.tensor(`${parts.module}.weight_shape`);
  if (
    (tensor.dtype !== "I64" && tensor.dtype !== "I32") ||
    tensor.data.length !== (tensor.dtype === "I64" ? 16 : 8)
  ) {
    throw unfit(parts, tensor, "I64 [2]");
  }
  const view = new DataView(tensor.data.buffer, tensor.data.byteOffset, tensor.data.length);
  const at = (i: number): number =>
    tensor.dtype === "I64" ? Number(view.getBigInt64(i * 8, true)) : view.getInt32(i * 4, true);
  const shape: [number, number] = [at(0), at(1)];
  if (shape.every((size) => Number.isSafeInteger(size) && size > 0 && size < 2 ** 31)) return shape;
  throw new MillraceError(
    "invalid_model_file",
    `${parts.module}.weight_shape says [${shape.join(", ")}], which is no shape. Fetch the file again.`,
  );
}

interface Groups {
  /** [rows, perRow] */
  readonly scales: Float32Array;
  readonly perRow: number;
}

function readGroups(parts: Parts, rows: number, cols: number): Groups {
  const { module, scheme } = parts;
  if (scheme.groupSize !== null && cols % scheme.groupSize !== 0) {
    throw new MillraceError(
      "unsupported_format",
      `${module} has ${cols} columns in groups of ${scheme.groupSize}; the last group is short, which is not read. Quantise again with a group size that divides ${cols}.`,
    );
  }
  const perRow = scheme.groupSize === null ? 1 : cols / scheme.groupSize;
  const tensor = parts.read.tensor(`${module}.weight_scale`);
  const dtype = floatDtypes[tensor.dtype];
  if (dtype === undefined) throw unfit(parts, tensor, "BF16, F16 or F32");
  const stored = widenFloats(tensor.data, dtype);
  if (stored.length === rows * perRow) return { scales: stored, perRow };
  if (stored.length !== 1) throw unfit(parts, tensor, `[${rows}, ${perRow}]`);
  return { scales: new Float32Array(rows * perRow).fill(stored[0]!), perRow };
}

/** Signed zero points [rows, perRow] of the unpacked format. */
function readByteZeros(parts: Parts, rows: number, perRow: number): Float32Array {
  const tensor = parts.read.tensor(`${parts.module}.weight_zero_point`);
  const expected = rows * perRow;
  if (tensor.dtype !== "I8" || (tensor.data.length !== expected && tensor.data.length !== 1)) {
    throw unfit(parts, tensor, `I8 [${rows}, ${perRow}]`);
  }
  const zeros = new Int8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.length);
  return zeros.length === expected ? Float32Array.from(zeros) : new Float32Array(expected).fill(zeros[0]!);
}

/** Zero points [rows, perRow], packed along the rows; signed for 8 bits, else unsigned like the codes. */
function readPackedZeros(parts: Parts, rows: number, perRow: number): Float32Array {
  const { bits } = parts.scheme;
  const tensor = parts.read.tensor(`${parts.module}.weight_zero_point`);
  const words = Math.ceil((rows * bits) / 32);
  if (
    tensor.dtype !== "I32" ||
    tensor.shape.length !== 2 ||
    tensor.shape[0] !== words ||
    tensor.shape[1] !== perRow
  ) {
    throw unfit(parts, tensor, `I32 [${words}, ${perRow}]`);
  }
  const columns = unpackBits(
    transposeWords(tensor.data, words, perRow),
    { rows: perRow, count: rows, stride: words * 4 },
    bits,
  );
  const offset = bits === 8 ? 128 : 0;
  const zeros = new Float32Array(rows * perRow);
  for (let row = 0; row < rows; row += 1) {
    for (let group = 0; group < perRow; group += 1)
      zeros[row * perRow + group] = columns[group * rows + row]! - offset;
  }
  return zeros;
}

function assemble(
  parts: Parts,
  matrix: Pick<IntegerWeight, "rows" | "cols" | "bits" | "codes">,
  groups: Groups,
  zeros: Float32Array | null,
): IntegerWeight {
  const minimums = zeros?.map((zero, i) => -zero * groups.scales[i]!) ?? null;
  return {
    kind: "integer",
    ...matrix,
    groupSize: matrix.cols / groups.perRow,
    scales: groups.scales,
    minimums,
    activations: parts.scheme.activations,
  };
}

function unfit(parts: Parts, tensor: StoredTensor, expected: string): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `${tensor.name} is ${tensor.dtype} [${tensor.shape.join(", ")}]; ${parts.scheme.format} ${parts.scheme.bits}-bit weights need ${expected}. Fetch the model again; config.json and weights may be of different checkpoints.`,
  );
}
