import { describe, expect, it } from "vitest";
import { bytesOf, readerOf } from "../../../tests/tensor-reader.ts";
import { isMillraceError } from "../../base/errors.ts";
import type { MatrixShape } from "../checkpoint.ts";
import type { StoredTensor, TensorHeader } from "../stored-tensor.ts";
import { type QuantizedLinears, readQuantization } from "./quantized-linears.ts";

type Tensors = Record<string, Omit<StoredTensor, "name">>;

const [rows, cols] = [16, 64];
const bytesPer: Readonly<Record<string, number>> = {
  I8: 1,
  U8: 1,
  F8_E4M3: 1,
  F16: 2,
  I32: 4,
  F32: 4,
  I64: 8,
};
const zeros = (dtype: string, ...shape: number[]): Omit<StoredTensor, "name"> => ({
  dtype,
  shape,
  data: new Uint8Array(shape.reduce((a, b) => a * b, bytesPer[dtype]!)),
});
const packed = (symmetric: boolean): Record<string, unknown> => ({
  quant_method: "compressed-tensors",
  format: "pack-quantized",
  config_groups: {
    g: {
      targets: ["Linear"],
      weights: { num_bits: 4, type: "int", strategy: "group", group_size: 32, symmetric },
    },
  },
});
const weightShape = (): Omit<StoredTensor, "name"> => ({
  ...zeros("I64", 2),
  data: bytesOf(Int32Array.of(rows, 0, cols, 0)),
});
const state = { quant_type: "nf4", blocksize: 64, nested_blocksize: 256, shape: [rows, cols] };
const stateBytes = new TextEncoder().encode(JSON.stringify(state));

const formats: readonly [string, Record<string, unknown>, Tensors][] = [
  [
    "int-quantized",
    {
      quant_method: "compressed-tensors",
      format: "int-quantized",
      config_groups: {
        g: {
          targets: ["Linear"],
          weights: { num_bits: 8, type: "int", strategy: "channel", symmetric: false },
        },
      },
    },
    {
      "m.weight": zeros("I8", rows, cols),
      "m.weight_scale": zeros("F32", rows, 1),
      "m.weight_zero_point": zeros("I8", rows, 1),
    },
  ],
  [
    "pack-quantized",
    packed(false),
    {
      "m.weight_packed": zeros("I32", rows, cols / 8),
      "m.weight_shape": weightShape(),
      "m.weight_scale": zeros("F16", rows, 2),
      "m.weight_zero_point": zeros("I32", rows / 8, 2),
    },
  ],
  [
    "pack-quantized with an activation order",
    packed(true),
    {
      "m.weight_packed": zeros("I32", rows, cols / 8),
      "m.weight_shape": weightShape(),
      "m.weight_scale": zeros("F16", rows, 2),
      "m.weight_g_idx": zeros("I32", cols),
    },
  ],
  [
    "GPTQ",
    { quant_method: "gptq", bits: 4, group_size: 32, desc_act: true, sym: true },
    {
      "m.qweight": zeros("I32", cols / 8, rows),
      "m.qzeros": zeros("I32", 2, rows / 8),
      "m.scales": zeros("F16", 2, rows),
      "m.g_idx": zeros("I32", cols),
    },
  ],
  [
    "AWQ",
    { quant_method: "awq", bits: 4, group_size: 32, version: "gemm" },
    {
      "m.qweight": zeros("I32", cols, rows / 8),
      "m.qzeros": zeros("I32", 2, rows / 8),
      "m.scales": zeros("F16", 2, rows),
    },
  ],
  [
    "bitsandbytes int8",
    { quant_method: "bitsandbytes", load_in_8bit: true },
    { "m.weight": zeros("I8", rows, cols), "m.SCB": zeros("F32", rows) },
  ],
  [
    "bitsandbytes nf4",
    { quant_method: "bitsandbytes", load_in_4bit: true, bnb_4bit_quant_type: "nf4" },
    {
      "m.weight": zeros("U8", (rows * cols) / 2, 1),
      "m.weight.absmax": zeros("U8", (rows * cols) / 64),
      "m.weight.quant_map": zeros("F32", 16),
      "m.weight.nested_quant_map": zeros("F32", 256),
      "m.weight.nested_absmax": zeros("F32", 1),
      "m.weight.quant_state.bitsandbytes__nf4": { dtype: "U8", shape: [stateBytes.length], data: stateBytes },
    },
  ],
  [
    "FP8 in blocks",
    { quant_method: "fp8", weight_block_size: [8, 32] },
    { "m.weight": zeros("F8_E4M3", rows, cols), "m.weight_scale_inv": zeros("F32", 2, 2) },
  ],
  [
    "FP8 by rows",
    { quant_method: "fbgemm_fp8" },
    { "m.weight": zeros("F8_E4M3", rows, cols), "m.weight_scale": zeros("F32", rows, 1) },
  ],
];

/** Headers that are wrong in one thing: type, a size, or the number of dimensions. */
function damaged({ dtype, shape }: TensorHeader): Pick<TensorHeader, "dtype" | "shape">[] {
  const sizes = shape.flatMap((_, at) =>
    [-1, 1, 8].map((by) => shape.map((size, i) => (i === at ? Math.max(0, size + by) : size))),
  );
  const others = [...sizes, [], [...shape, 2], shape.slice(1)];
  return [{ dtype: "I16", shape }, { dtype: "BOOL", shape }, ...others.map((own) => ({ dtype, shape: own }))];
}

/** What comes of asking: "ok" for the shape that the definition expects, else the error's code. */
function outcomeOf(ask: () => MatrixShape | null): string {
  try {
    const found = ask();
    if (found === null) return "dense";
    return found.rows === rows && found.cols === cols ? "ok" : "invalid_model_file";
  } catch (error) {
    if (isMillraceError(error)) return error.code;
    throw error;
  }
}

describe.each(formats)("headers of %s", (_, quantization_config, tensors) => {
  const linears = readQuantization({ quantization_config }) as QuantizedLinears;
  const ask = (own: Tensors): { readonly form: string; readonly read: string } => {
    // Data as long as the header says, as files are checked for.
    const reader = readerOf(own);
    return {
      form: outcomeOf(() => linears.form("m", reader)),
      read: outcomeOf(() => linears.read("m", reader)),
    };
  };

  it("pass where they are right", () => {
    expect(ask(tensors)).toEqual({ form: "ok", read: "ok" });
  });

  it.each(Object.keys(tensors))(
    "are refused before loading where that of %s is wrong, as loading would",
    (name) => {
      let numRefused = 0;
      for (const header of damaged({ name, ...tensors[name]! })) {
        const size = header.shape.reduce((a, b) => a * b, 8);
        const data = new Uint8Array(size);
        data.set(tensors[name]!.data.subarray(0, size));
        const { form, read } = ask({ ...tensors, [name]: { ...header, data } });
        expect({ header, form }).toEqual({ header, form: read });
        if (form !== "ok") numRefused += 1;
      }
      expect(numRefused).toBeGreaterThan(1);
    },
  );
});
