import { MillraceError } from "../../base/errors.ts";
import type { Weight } from "../../base/weights.ts";
import { type JsonObject, parseJsonObject } from "../json-file.ts";
import type { StoredTensor, TensorReader } from "../stored-tensor.ts";
import { groupedForm, unfit } from "./grouped-integers.ts";
import { textOf } from "./modules.ts";
import type { QuantizedLinears } from "./quantized-linears.ts";

/**
 * bitsandbytes checkpoints: int8 with one scale for each row (`SCB`), and 4 bits behind a table of 16 floats (nf4,
 * fp4), nested or not. Values of a table are no integers, so such a matrix becomes f32. Which modules are quantised is
 * told by their tensors. Throws `unsupported_format` or `invalid_model_file`.
 */
export function bitsAndBytesLinears(config: JsonObject): QuantizedLinears {
  const isFour = config["load_in_4bit"] === true;
  return {
    label: `bitsandbytes ${isFour ? textOf(config["bnb_4bit_quant_type"], "fp4") : "int8"}`,
    form: (module, { rows, cols }, tensors) => {
      if (tensors.has(`${module}.SCB`)) {
        return groupedForm({ rows, cols, bits: 8, numGroups: 1, hasMinimums: false }, "F32");
      }
      return tensors.has(`${module}.weight.absmax`) ? { kind: "dense", rows, cols, dtype: "f32" } : null;
    },
    read: (module, tensors) => {
      if (tensors.has(`${module}.SCB`)) return readInt8(module, tensors);
      return tensors.has(`${module}.weight.absmax`) ? readTable(module, tensors) : null;
    },
  };
}

/** w = q · SCB / 127; the scale is rounded once to f32. */
function readInt8(module: string, tensors: TensorReader): Weight {
  const weight = tensors.tensor(`${module}.weight`);
  const scale = tensors.tensor(`${module}.SCB`);
  const [rows = 0, cols = 0] = weight.shape;
  if (weight.dtype !== "I8" || weight.shape.length !== 2) throw unfit(weight, "I8 [rows, columns]");
  const scales = floatsOf(scale, rows).map((value) => value / 127);
  return {
    kind: "integer",
    rows,
    cols,
    bits: 8,
    groupSize: cols,
    codes: weight.data,
    scales,
    minimums: null,
    activations: "unspecified",
  };
}

interface QuantState {
  readonly rows: number;
  readonly cols: number;
  readonly blockSize: number;
  readonly nestedBlockSize: number;
  readonly nestedOffset: number;
}

function readTable(module: string, tensors: TensorReader): Weight {
  const weight = tensors.tensor(`${module}.weight`);
  const { rows, cols, ...state } = readState(module, tensors);
  const count = rows * cols;
  if (weight.dtype !== "U8" || weight.data.length !== Math.ceil(count / 2))
    throw unfit(weight, `U8 [${Math.ceil(count / 2)}, 1]`);
  const table = floatsOf(tensors.tensor(`${module}.weight.quant_map`), 16);
  const largest = readLargest(module, tensors, Math.ceil(count / state.blockSize), state);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 1) {
    // The first of two values is in the high half of their byte.
    const code = (weight.data[i >> 1]! >> ((i & 1) === 0 ? 4 : 0)) & 15;
    values[i] = table[code]! * largest[Math.floor(i / state.blockSize)]!;
  }
  return { kind: "dense", rows, cols, dtype: "f32", data: new Uint8Array(values.buffer) };
}

/** The largest absolute value of each block: as stored, or itself 8 bits behind a table with a scale for each 256. */
function readLargest(
  module: string,
  tensors: TensorReader,
  count: number,
  { nestedBlockSize, nestedOffset }: Omit<QuantState, "rows" | "cols">,
): Float32Array {
  const stored = tensors.tensor(`${module}.weight.absmax`);
  if (stored.dtype === "F32") return floatsOf(stored, count);
  if (stored.dtype !== "U8" || stored.data.length !== count) throw unfit(stored, `F32 or U8 [${count}]`);
  const table = floatsOf(tensors.tensor(`${module}.weight.nested_quant_map`), 256);
  const scales = floatsOf(
    tensors.tensor(`${module}.weight.nested_absmax`),
    Math.ceil(count / nestedBlockSize),
  );
  return Float32Array.from(stored.data, (code, i) => {
    const product = Math.fround(table[code]! * scales[Math.floor(i / nestedBlockSize)]!);
    return product + nestedOffset;
  });
}

/** The JSON object that stands in a tensor of bytes. */
function readState(module: string, tensors: TensorReader): QuantState {
  const name = ["nf4", "fp4"]
    .map((type) => `${module}.weight.quant_state.bitsandbytes__${type}`)
    .find((candidate) => tensors.has(candidate));
  const tensor = tensors.tensor(name ?? `${module}.weight.quant_state.bitsandbytes__nf4`);
  const json = parseJsonObject(new TextDecoder().decode(tensor.data), tensor.name);
  const shape: unknown = json["shape"];
  const size = (value: unknown, what: string): number => {
    if (typeof value === "number" && Number.isInteger(value) && value > 0 && value < 2 ** 31) return value;
    throw new MillraceError(
      "invalid_model_file",
      `${tensor.name} has ${what} = ${JSON.stringify(value)}; it must be a whole number above 0. Fetch the model again.`,
    );
  };
  const [rows, cols]: unknown[] = Array.isArray(shape) ? shape : [];
  const offset = json["nested_offset"];
  return {
    rows: size(rows, "shape[0]"),
    cols: size(cols, "shape[1]"),
    blockSize: size(json["blocksize"], "blocksize"),
    nestedBlockSize: size(json["nested_blocksize"] ?? 256, "nested_blocksize"),
    nestedOffset: typeof offset === "number" ? offset : 0,
  };
}

function floatsOf(tensor: StoredTensor, count: number): Float32Array {
  if (tensor.dtype !== "F32" || tensor.data.length !== count * 4) throw unfit(tensor, `F32 [${count}]`);
  return new Float32Array(tensor.data.slice().buffer);
}
