import { MillraceError } from "../../base/errors.ts";
import type { Weight } from "../../base/weights.ts";
import type { MatrixShape } from "../checkpoint.ts";
import { type JsonObject, parseJsonObject } from "../json-file.ts";
import type { StoredTensor, TensorReader } from "../stored-tensor.ts";
import { checkList, numElements, unfit } from "./check-header.ts";
import { groupedForm } from "./grouped-integers.ts";
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
    packedSuffix: null,
    form: (module, tensors) => {
      if (tensors.has(`${module}.SCB`)) {
        const layout = checkInt8(module, tensors);
        return groupedForm({ ...layout, bits: 8, numGroups: 1, hasMinimums: false }, "F32");
      }
      if (!tensors.has(`${module}.weight.absmax`)) return null;
      const { rows, cols } = tableLayout(module, tensors);
      return { kind: "dense", rows, cols, dtype: "f32", isWidened: true };
    },
    read: (module, tensors) => {
      if (tensors.has(`${module}.SCB`)) return readInt8(module, tensors);
      return tensors.has(`${module}.weight.absmax`) ? readTable(module, tensors) : null;
    },
  };
}

function checkInt8(module: string, tensors: TensorReader): MatrixShape {
  const weight = tensors.header(`${module}.weight`);
  if (weight.dtype !== "I8" || weight.shape.length !== 2) throw unfit(weight, "I8 [rows, columns]");
  const [rows, cols] = weight.shape as [number, number];
  checkList(tensors.header(`${module}.SCB`), "F32", rows);
  return { rows, cols };
}

/** w = q · SCB / 127; the scale is rounded once to f32. */
function readInt8(module: string, tensors: TensorReader): Weight {
  const { rows, cols } = checkInt8(module, tensors);
  const weight = tensors.tensor(`${module}.weight`);
  const scales = floatsOf(tensors.tensor(`${module}.SCB`)).map((value) => value / 127);
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

/** Throws `invalid_model_file` where tensors are not what the state beside them says. */
function tableLayout(module: string, tensors: TensorReader): QuantState {
  const state = readState(module, tensors);
  const count = state.rows * state.cols;
  const weight = tensors.header(`${module}.weight`);
  const numBytes = Math.ceil(count / 2);
  if (weight.dtype !== "U8" || numElements(weight) !== numBytes) throw unfit(weight, `U8 [${numBytes}, 1]`);
  checkList(tensors.header(`${module}.weight.quant_map`), "F32", 16);
  const largest = tensors.header(`${module}.weight.absmax`);
  const numBlocks = Math.ceil(count / state.blockSize);
  checkList(largest, largest.dtype === "F32" ? "F32" : "U8", numBlocks);
  if (largest.dtype === "F32") return state;
  checkList(tensors.header(`${module}.weight.nested_quant_map`), "F32", 256);
  const numNested = Math.ceil(numBlocks / state.nestedBlockSize);
  checkList(tensors.header(`${module}.weight.nested_absmax`), "F32", numNested);
  return state;
}

function readTable(module: string, tensors: TensorReader): Weight {
  const state = tableLayout(module, tensors);
  const { rows, cols } = state;
  const count = rows * cols;
  const weight = tensors.tensor(`${module}.weight`);
  const table = floatsOf(tensors.tensor(`${module}.weight.quant_map`));
  const largest = readLargest(module, tensors, state);
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
  { nestedBlockSize, nestedOffset }: QuantState,
): Float32Array {
  const stored = tensors.tensor(`${module}.weight.absmax`);
  if (stored.dtype === "F32") return floatsOf(stored);
  const table = floatsOf(tensors.tensor(`${module}.weight.nested_quant_map`));
  const scales = floatsOf(tensors.tensor(`${module}.weight.nested_absmax`));
  return Float32Array.from(stored.data, (code, i) => {
    const product = Math.fround(table[code]! * scales[Math.floor(i / nestedBlockSize)]!);
    return product + nestedOffset;
  });
}

/** The JSON object that stands in a tensor of bytes. */
function readState(module: string, tensors: TensorReader): QuantState {
  const names = ["nf4", "fp4"].map((type) => `${module}.weight.quant_state.bitsandbytes__${type}`);
  const tensor = tensors.detail(names.find((name) => tensors.has(name)) ?? names[0]!);
  if (tensor.dtype !== "U8") throw unfit(tensor, "U8, the bytes of a JSON object");
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

/** The values of an F32 tensor. */
function floatsOf({ data }: StoredTensor): Float32Array {
  return new Float32Array(data.slice().buffer);
}
